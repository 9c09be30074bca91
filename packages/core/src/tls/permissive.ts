import type { Duplex } from 'node:stream';

/** First byte of every TLS record of a handshake (RFC 8446 section 5.1); no HTTP/1.1 request begins with it. */
export const tlsHandshakeByte = 0x16;

/**
 * Waits for the first byte of a connection and hands it over, everything read put back, so that TLS or the HTTP parser reads from the
 * beginning. A connection that ends before any byte is destroyed silently. Returns a function that gives up waiting.
 */
export function sniffFirstByte(socket: Duplex, onFirstByte: (byte: number) => void): () => void {
  const onReadable = (): void => {
    const chunk = socket.read() as Buffer | null;
    const first = chunk?.[0];
    if (chunk === null || first === undefined) return;
    stop();
    socket.unshift(chunk);
    onFirstByte(first);
  };
  const onEnd = (): void => {
    stop();
    socket.destroy();
  };
  const stop = (): void => {
    socket.removeListener('readable', onReadable);
    socket.removeListener('end', onEnd);
  };
  socket.on('readable', onReadable);
  socket.on('end', onEnd);
  return stop;
}
