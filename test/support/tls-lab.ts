import { once } from 'node:events';
import type { Server } from 'node:https';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { defaultMeshSettings } from '../../packages/core/src/config/mesh-config.js';
import type { MeshIdentity } from '../../packages/core/src/identity/source.js';
import { acceptSettings, type AcceptSettings } from '../../packages/core/src/tls/accept-settings.js';
import { connectionOf, type ConnectionFacts } from '../../packages/core/src/tls/peer.js';
import { createTlsServer, type ConnectionRefusal, type TlsServerOptions } from '../../packages/core/src/tls/server.js';

/** A server of the mesh on a free port that counts the requests which reach its handler. */
export interface Lab {
  readonly server: Server;
  readonly port: number;
  /** Facts of the connection of each request that reached the handler. */
  readonly served: ConnectionFacts[];
  readonly refusals: ConnectionRefusal[];
  /** What the port takes; may be changed while the server runs. */
  settings: AcceptSettings;
  close(): Promise<void>;
}

/** Starts a lab; `mode` and the trust domains are those of `settings`. */
export async function startLab(
  identity: MeshIdentity,
  o: { readonly settings?: Partial<AcceptSettings>; readonly server?: Partial<TlsServerOptions> } = {},
): Promise<Lab> {
  const served: ConnectionFacts[] = [];
  const refusals: ConnectionRefusal[] = [];
  const lab = { settings: { ...acceptSettings({ mode: 'STRICT', mesh: defaultMeshSettings }), ...o.settings } };
  const server = createTlsServer({
    identity,
    accept: () => lab.settings,
    onRefused: (refusal) => refusals.push(refusal),
    ...o.server,
  });
  server.on('request', (request, response) => {
    served.push(connectionOf(request.socket));
    response.end('served');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const close = async (): Promise<void> => {
    if (!server.listening) return;
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  };
  return Object.assign(lab, { server, port: (server.address() as AddressInfo).port, served, refusals, close });
}

/** How a connection went, seen from the client. */
export interface Outcome {
  /** All bytes received, as Latin-1. */
  readonly text: string;
  /** `end` for an orderly end, else the error's code. */
  readonly end: string;
}

const get = 'GET /path HTTP/1.1\r\nHost: stock\r\nConnection: close\r\n\r\n';

/** Sends `parts` in the clear, each after the one before has gone out, and reads until the end. */
export async function callPlain(port: number, parts: readonly (string | Buffer)[] = [get]): Promise<Outcome> {
  const socket = connect(port, '127.0.0.1').setNoDelay(true);
  const outcome = readToEnd(socket);
  for (const part of parts) await new Promise((sent) => socket.write(part, sent));
  return outcome;
}

/** What a TLS client shows: an identity of the mesh, or none. */
export interface TlsClient extends ConnectionOptions {
  readonly identity?: MeshIdentity | undefined;
  readonly send?: string;
}

/** Shakes hands, sends a request as soon as the handshake has ended, and reads until the end. It verifies nothing. */
export async function callTls(port: number, client: TlsClient): Promise<Outcome & { readonly socket: TLSSocket }> {
  const { identity, send = get, ...options } = client;
  const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false, ...clientCertificate(identity), ...options });
  socket.once('secureConnect', () => send !== '' && socket.write(send));
  return { ...(await readToEnd(socket)), socket };
}

/** The certificate and key of an identity as options of node:tls. */
export function clientCertificate(identity: MeshIdentity | undefined): { cert?: string; key?: string } {
  if (identity === undefined) return {};
  const { chain, privateKey } = identity.svid.current();
  return { cert: chain, key: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string };
}

/** Reads a socket until it is closed. */
export function readToEnd(socket: Socket): Promise<Outcome> {
  let text = '';
  let end = 'end';
  socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
  socket.on('error', (error: Error & { code?: string }) => (end = error.code ?? error.message));
  return new Promise((resolve) => socket.once('close', () => resolve({ text, end })));
}
