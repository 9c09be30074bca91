import { connect as connectTcp, type Socket } from 'node:net';
import { connect, type TLSSocket } from 'node:tls';
import type { X509Svid } from '@enmesh/core';

/** A certificate and its key as text, as other processes take them. */
export function keyPair({ chain, privateKey }: Pick<X509Svid, 'chain' | 'privateKey'>): {
  readonly cert: string;
  readonly key: string;
} {
  return { cert: chain, key: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string };
}

/** A TLS client of Node's own, without any of ours: shows `svid` and takes a server that `roots` sign. */
export function openTls(
  port: number,
  svid: Pick<X509Svid, 'chain' | 'privateKey'>,
  roots: readonly string[],
  over?: Socket,
): TLSSocket {
  const socket = connect({
    ...(over === undefined ? { host: '127.0.0.1', port } : { socket: over }),
    ...keyPair(svid),
    ca: [...roots],
    ALPNProtocols: ['istio'],
    checkServerIdentity: () => undefined,
  });
  socket.on('error', () => {});
  return socket;
}

/** A plain TCP connection that swallows its own errors. */
export function openTcp(port: number): Socket {
  const socket = connectTcp({ host: '127.0.0.1', port });
  socket.on('error', () => {});
  return socket;
}

const request = 'GET / HTTP/1.1\r\nhost: product\r\n\r\n';

/** Sends one request and resolves true with a 200, false with anything else or an end. */
export function ask(socket: TLSSocket): Promise<boolean> {
  if (socket.destroyed) return Promise.resolve(false);
  return new Promise((done) => {
    const settle = (isServed: boolean): void => {
      socket.removeListener('data', onData);
      socket.removeListener('close', onClose);
      done(isServed);
    };
    const onData = (bytes: Buffer): void => settle(bytes.toString('latin1', 0, 12) === 'HTTP/1.1 200');
    const onClose = (): void => settle(false);
    socket.once('data', onData);
    socket.once('close', onClose);
    socket.write(request);
  });
}

/** Whether a new connection with this certificate is served. */
export async function isServed(
  port: number,
  svid: Pick<X509Svid, 'chain' | 'privateKey'>,
  roots: readonly string[],
): Promise<boolean> {
  const socket = openTls(port, svid, roots);
  try {
    return await ask(socket);
  } finally {
    socket.destroy();
  }
}

/** Whether somebody takes connections at a port. */
export function isOpen(port: number): Promise<boolean> {
  const socket = openTcp(port);
  return new Promise<boolean>((done) => socket.once('connect', () => done(true)).once('close', () => done(false))).finally(() =>
    socket.destroy(),
  );
}
