import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createSecureContext, createServer, type SecureContext, type TLSSocket } from 'node:tls';
import { callTls } from '../support/tls-lab.js';
import type { Presented } from './handshake-corpora.js';

// Weak certificates are shown all the same: what they meet is to be tried.
const contextOptions = ({ chain, key }: Presented) => ({ cert: chain, key, ciphers: 'DEFAULT@SECLEVEL=0' });

/** A context that shows what a case says; undefined where OpenSSL itself does not show it, for the key is not the leaf's or of a kind it has not. */
function contextOf(one: Presented): SecureContext | undefined {
  try {
    return createSecureContext(contextOptions(one));
  } catch {
    return undefined;
  }
}

/** Calls a port with the certificate of a case; what came back. */
export async function callWith(one: Presented, port: number): Promise<string> {
  const secureContext = contextOf(one);
  if (secureContext === undefined) return '';
  const { text } = await callTls(port, { secureContext, ALPNProtocols: ['istio', 'http/1.1'] });
  return text;
}

/** Runs a server with the certificate of a case while `connect` does: the code of its error, `taken` without one. */
export async function serveWith(
  one: Presented,
  connect: (port: number, done: (error: Error | null, socket: TLSSocket | null) => void) => void,
): Promise<string> {
  if (contextOf(one) === undefined) return 'not presented';
  const server = createServer(contextOptions(one));
  server.on('secureConnection', (socket) => socket.on('error', () => socket.destroy()));
  server.on('tlsClientError', () => undefined);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const outcome = await new Promise<string>((done) =>
    connect(port, (error, socket) => {
      socket?.destroy();
      done(error === null ? 'taken' : ((error as { code?: string }).code ?? String(error)));
    }),
  );
  const closed = once(server, 'close');
  server.close();
  await closed;
  return outcome;
}
