import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';
import type { TestCertificate } from '@enmesh/core/testing';
import type { DoorCase } from './door-oracle-world.js';

/** An answer read to its end. */
export interface Answer {
  readonly status: number;
  readonly body: string;
  readonly challenge: string | undefined;
  /** Whether the server ends the connection behind it. */
  readonly isLast: boolean;
}

/** Sends the requests of cases byte for byte from the addresses and with the certificates they name. */
export interface Client {
  /** The answer, or undefined when the connection ends before one. */
  send(entry: DoorCase, certificate: TestCertificate | undefined): Promise<Answer | undefined>;
  close(): void;
}

/** Creates a client of one server. Where it keeps connections, each request goes out twice and the second answer counts. */
export function createClient(port: number, keepsConnections: boolean): Client {
  const kept = new Map<string, Socket>();
  return {
    async send(entry, certificate) {
      const key = JSON.stringify(entry.connection);
      const socket = kept.get(key) ?? openSocket(entry.connection, port, certificate);
      kept.delete(key);
      let answer = await exchange(socket, entry.request);
      if (keepsConnections && answer?.isLast === false) answer = await exchange(socket, entry.request);
      if (keepsConnections && answer?.isLast === false) kept.set(key, socket);
      else socket.destroy();
      return answer;
    },
    close() {
      for (const socket of kept.values()) socket.destroy();
    },
  };
}

function openSocket(connection: DoorCase['connection'], port: number, certificate: TestCertificate | undefined): Socket {
  const { destinationIp: host, sourceIp: localAddress, sni, alpn } = connection;
  const place = { host, port, localAddress };
  const options: ConnectionOptions = {
    ...place,
    // The server's own certificate is not what these cases are about.
    rejectUnauthorized: false,
    ...(sni ? { servername: sni } : {}),
    ...(alpn === undefined ? {} : { ALPNProtocols: [...alpn] }),
    ...(certificate === undefined ? {} : { cert: certificate.chain, key: keyOf(certificate) }),
  };
  const socket = connection.tls ? connectTls(options) : connectTcp(place);
  socket.on('error', () => {});
  return socket.setTimeout(40_000, () => socket.destroy());
}

function keyOf(certificate: TestCertificate): string {
  return certificate.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
}

function exchange(socket: Socket, { method, target, headers, body = '' }: DoorCase['request']): Promise<Answer | undefined> {
  const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  return new Promise((done) => {
    let received = '';
    const end = (answer: Answer | undefined): void => {
      socket.off('data', read).off('close', ended);
      done(answer);
    };
    const ended = (): void => end(undefined);
    const read = (chunk: Buffer): void => {
      received += chunk.toString('latin1');
      const answer = parseAnswer(received, method === 'HEAD');
      if (answer !== undefined) end(answer);
    };
    socket.on('data', read).on('close', ended);
    socket.write(`${method} ${target} HTTP/1.1\r\n${lines}\r\n${body}`, 'utf8');
  });
}

/** The answer in `bytes` once all of it has arrived; interim ones are passed over. */
function parseAnswer(bytes: string, isHead: boolean): Answer | undefined {
  const [, status, head = ''] = /^HTTP\/1\.1 (\d{3})[^]*?\r\n([^]*?)\r\n\r\n/.exec(bytes) ?? [];
  if (status === undefined) return undefined;
  const rest = bytes.slice(bytes.indexOf('\r\n\r\n') + 4);
  if (status.startsWith('1')) return parseAnswer(rest, isHead);
  const length = isHead ? 0 : Number(/^content-length: (\d+)$/im.exec(head)?.[1] ?? 0);
  if (rest.length < length) return undefined;
  const challenge = /^www-authenticate: (.*)$/im.exec(head)?.[1];
  return { status: Number(status), body: rest.slice(0, length), challenge, isLast: /^connection: close$/im.test(head) };
}
