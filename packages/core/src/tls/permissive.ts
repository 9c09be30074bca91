import type { Socket } from 'node:net';

/** How a client begins: TLS, HTTP/1, or one of two things that look like HTTP and are none that is served here. */
export type Start = 'tls' | 'http' | 'proxy-protocol' | 'http2';

/** First byte of every TLS record of a handshake (RFC 8446 section 5.1); no HTTP/1.1 request begins with it. */
const tlsHandshakeByte = 0x16;

/** Beginnings that are not served, none of which an HTTP/1.1 request shares to its end. */
const foreign: readonly (readonly [Start, Buffer])[] = [
  // HAProxy's PROXY protocol, sections 2.1 and 2.2.
  ['proxy-protocol', Buffer.from('PROXY ', 'latin1')],
  ['proxy-protocol', Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1')],
  // RFC 9113 section 3.4, as far as it differs from a request line of HTTP/1.1.
  ['http2', Buffer.from('PRI * HTTP/2', 'latin1')],
];

/** What the first bytes of a connection begin; undefined while more are needed to tell, which are 12 at most. */
export function startOf(bytes: Uint8Array): Start | undefined {
  if (bytes[0] === tlsHandshakeByte) return 'tls';
  let isOpen = false;
  for (const [start, text] of foreign) {
    const length = Math.min(bytes.length, text.length);
    if (text.compare(bytes, 0, length, 0, length) !== 0) continue;
    if (length === text.length) return start;
    isOpen = true;
  }
  return isOpen ? undefined : 'http';
}

/** A listener of 'data' on a socket whose first bytes are read. */
export type FirstBytesListener = (this: Socket, chunk: Buffer) => void;

/**
 * Ends the reading of first bytes and puts back what was read, so that TLS or the HTTP parser reads from the beginning. The socket is paused then, which
 * is nothing to TLS; whoever goes on in the clear resumes it.
 */
export function unread(socket: Socket, listener: FirstBytesListener, bytes: Buffer): void {
  socket.removeListener('data', listener);
  socket.pause();
  socket.unshift(bytes);
}
