import type { Server } from 'node:https';
import type { Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import type { TLSSocket } from 'node:tls';
import type { AcceptSettings } from './accept-settings.js';
import { unmapped } from './peer.js';
import type { IdentityEpoch } from './secure-context.js';

/** A connection that is neither taken nor refused yet: before its first byte, or inside its handshake. */
export interface PendingConnection {
  readonly socket: Socket;
  readonly remoteAddress: string;
  /** What the port took when the first byte came; undefined before. */
  settings: AcceptSettings | undefined;
  /** The server's generation when `settings` was read. */
  generation: number;
  /** The SVID and bundles of its handshake; undefined before one. */
  epoch: IdentityEpoch | undefined;
  /** The client's ALPN list; undefined when it sent none. */
  alpn: readonly string[] | undefined;
  isAlpnRefused: boolean;
  /** Sets the one deadline of the connection, in milliseconds since it was accepted. */
  expireAfter(sinceAcceptMs: number, onDeadline: () => void): void;
}

/** The pending connections of one server, each until it is settled, once. */
export interface PendingConnections {
  add(socket: Socket): PendingConnection;
  /** The pending connection under a TLS socket that Node's own listener made. */
  under(socket: TLSSocket): PendingConnection | undefined;
  /** Takes a connection out, taken or refused; false when it was settled before, so that nothing is told twice. */
  settle(connection: PendingConnection): boolean;
}

/** Creates the set of pending connections of `server` and makes its `close` end them at once: Node itself does not know them yet. */
export function createPendingConnections(server: Server): PendingConnections {
  const bySocket = new Map<Socket, PendingConnection>();
  const timers = new Map<PendingConnection, NodeJS.Timeout>();
  const settle = (connection: PendingConnection): boolean => {
    clearTimeout(timers.get(connection));
    timers.delete(connection);
    return bySocket.delete(connection.socket);
  };
  const endAll = (): void => {
    for (const connection of [...bySocket.values()]) {
      settle(connection);
      connection.socket.destroy();
    }
  };
  endBeforeClosing(server, endAll);
  return {
    settle,
    // Private, but the only link from a TLS socket to the socket it was made from; without it the connection is refused.
    under: (socket) => bySocket.get((socket as TLSSocket & { readonly _parent?: Socket })._parent as Socket),
    add(socket) {
      const connection = pendingConnection(socket, (ms, onDeadline) => {
        clearTimeout(timers.get(connection));
        timers.set(connection, setTimeout(onDeadline, ms).unref());
      });
      bySocket.set(socket, connection);
      // In a handshake the TLS socket tells of the end, after this event.
      socket.once('close', () => connection.settings === undefined && settle(connection));
      return connection;
    },
  };
}

function pendingConnection(socket: Socket, setDeadline: (ms: number, onDeadline: () => void) => void): PendingConnection {
  const acceptedAt = performance.now();
  return {
    socket,
    remoteAddress: unmapped(socket.remoteAddress),
    settings: undefined,
    generation: 0,
    epoch: undefined,
    alpn: undefined,
    isAlpnRefused: false,
    expireAfter: (ms, onDeadline) => setDeadline(Math.max(1, ms - (performance.now() - acceptedAt)), onDeadline),
  };
}

function endBeforeClosing(server: Server, endAll: () => void): void {
  const { close, closeAllConnections } = server;
  server.close = (callback) => {
    endAll();
    return close.call(server, callback);
  };
  server.closeAllConnections = () => {
    endAll();
    closeAllConnections.call(server);
  };
}
