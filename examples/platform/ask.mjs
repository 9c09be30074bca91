// Asking over a bare socket, so that every byte that comes back, and how the connection ends, is seen.
import { connect as connectTcp } from 'node:net';
import { connect as connectTls } from 'node:tls';

/**
 * Sends one request to a port of loopback and reads to the end. `tls` are options of node:tls for a caller that brings a certificate of its own, or
 * none; without it the request goes in the clear. `body` is sent as JSON. The answer: status, headers, body, `bytes` received and how it `ended`.
 */
export function ask({ port, method = 'GET', path, headers = {}, body, tls }) {
  return new Promise((done) => {
    // Whom these callers talk to is not what is tried here, so they take every server.
    const open = tls === undefined ? connectTcp : connectTls;
    const socket = open({ host: '127.0.0.1', port, ...(tls && { ...tls, rejectUnauthorized: false, servername: 'product' }) });
    const text = body === undefined ? '' : JSON.stringify(body);
    const about = body === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) };
    const lines = Object.entries({ host: 'shop.example', connection: 'close', ...about, ...headers }).map(
      ([name, value]) => `${name}: ${value}`,
    );
    let received = '';
    let ended = 'closed';
    socket.on('data', (chunk) => (received += chunk.toString('latin1')));
    socket.on('error', (error) => (ended = error.code ?? error.message));
    socket.on('close', () => done({ ...parseAnswer(received), bytes: received.length, ended }));
    socket.setTimeout(10_000, () => socket.destroy(new Error('no answer within 10 s')));
    socket.write(`${method} ${path} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n${text}`);
  });
}

function parseAnswer(text) {
  const [head, ...rest] = text.split('\r\n\r\n');
  const [first, ...lines] = head.split('\r\n');
  const headers = Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]),
  );
  const body = rest.join('\r\n\r\n');
  return {
    status: Number(first.split(' ')[1] ?? 0),
    headers,
    body: headers['transfer-encoding'] === 'chunked' ? unchunk(body) : body,
  };
}

function unchunk(text) {
  const at = text.indexOf('\r\n');
  const size = Number.parseInt(text.slice(0, at), 16);
  return size > 0 ? text.slice(at + 2, at + 2 + size) + unchunk(text.slice(at + 4 + size)) : '';
}

/** The JSON of an answer, or nothing known where it has none: what is compared with it then differs. */
export function jsonOf({ body }) {
  try {
    return JSON.parse(body);
  } catch {
    return {};
  }
}

/** What came back, in one line: `200 {...}`, or how the connection ended without an answer. */
export function describe({ status, body, bytes, ended, code }) {
  if (status > 0) return `${status} ${body}`;
  if (code !== undefined) return `no answer, ${code}`;
  if (bytes > 0) return `${bytes} bytes that are no answer`;
  return ended === 'ECONNRESET' ? 'reset without a byte' : 'cut without a byte';
}
