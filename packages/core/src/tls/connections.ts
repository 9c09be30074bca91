import type { ServerResponse } from 'node:http';
import type { Server } from 'node:https';
import type { Duplex } from 'node:stream';

const liveByServer = new WeakMap<Server, Set<Duplex>>();
const none: ReadonlySet<Duplex> = new Set();

/** The connections that a server of `createTlsServer` has accepted and that are still open, upgraded ones too. */
export function connectionsOf(server: Server): ReadonlySet<Duplex> {
  return liveByServer.get(server) ?? none;
}

/** Keeps `socket` among the connections of `server` until it closes. */
export function trackConnection(server: Server, socket: Duplex): void {
  let live = liveByServer.get(server);
  if (live === undefined) liveByServer.set(server, (live = new Set()));
  const kept = live;
  kept.add(socket);
  socket.on('close', () => kept.delete(socket));
}

/** The response being written on a socket. Private to Node, as its own `closeIdleConnections` reads it, and without cost per request. */
export function responseOn(socket: Duplex): ServerResponse | undefined {
  return (socket as Duplex & { readonly _httpMessage?: ServerResponse | null })._httpMessage ?? undefined;
}

/** Makes a response the last one of its connection, where its head has not gone out. */
export function closeAfter(response: ServerResponse): void {
  if (!response.headersSent) response.setHeader('Connection', 'close');
}
