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
  socket.once('close', () => kept.delete(socket));
}
