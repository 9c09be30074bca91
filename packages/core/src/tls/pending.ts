import type { Server } from 'node:https';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { AcceptSettings } from './accept-settings.js';
import { unmapped } from './peer.js';
import type { IdentityEpoch } from './secure-context.js';

/** A connection that is neither taken nor refused yet: before its first byte, or inside its handshake. */
export interface PendingConnection {
  readonly socket: Socket;
  readonly remoteAddress: string;
  /** Monotonic, in milliseconds. */
  readonly acceptedAt: number;
  /** What it has begun with, as long as that cannot be told. */
  held: Buffer | undefined;
  /** What the port took when the first byte came; undefined before. */
  settings: AcceptSettings | undefined;
  /** The server's generation when `settings` was read. */
  generation: number;
  /** The SVID and bundles of its handshake; undefined before one. */
  epoch: IdentityEpoch | undefined;
  /** The client's ALPN list; undefined when it sent none. */
  alpn: readonly string[] | undefined;
  isAlpnRefused: boolean;
  /** Whether TLS began before its first byte had come. */
  isUnseen: boolean;
}

/** How long connections may be pending, in milliseconds since they were accepted. */
export interface PendingOptions {
  /** Before the first byte that tells what it is. */
  readonly sniffMs: number;
  /** In all, for one whose handshake has begun. */
  readonly handshakeMs: number;
  /** Told of each connection that takes longer, within 20 ms; it is to settle it. */
  readonly onDeadline: (connection: PendingConnection) => void;
}

/** The pending connections of one server, each until it is settled, once. */
export interface PendingConnections {
  add(socket: Socket): PendingConnection;
  /** The pending connection of a socket that was added. */
  of(socket: Socket): PendingConnection | undefined;
  /** The pending connection under a TLS socket that Node's own listener made. */
  under(socket: TLSSocket): PendingConnection | undefined;
  /** Notes that a handshake begins, with the SVID and bundles of it: from now on its deadline is the handshake's. */
  beginHandshake(connection: PendingConnection, epoch: IdentityEpoch): void;
  /** Takes a connection out, taken or refused; false when it was settled before, so that nothing is told twice. */
  settle(connection: PendingConnection): boolean;
}

/** Creates the set of pending connections of `server` and makes its `close` end them at once: Node itself does not know them yet. */
export function createPendingConnections(server: Server, options: PendingOptions): PendingConnections {
  const bySocket = new Map<Socket, PendingConnection>();
  const deadlines = createDeadlines(bySocket, options);
  const settle = (connection: PendingConnection): boolean => bySocket.delete(connection.socket);
  // One function for all of them, as each connection has its own for little else.
  const settleClosed = function (this: Socket): void {
    // In a handshake the TLS socket tells of the end, after this event.
    if (bySocket.get(this)?.settings === undefined) bySocket.delete(this);
  };
  endBeforeClosing(server, () => {
    for (const connection of [...bySocket.values()]) {
      settle(connection);
      connection.socket.destroy();
    }
  });
  return {
    settle,
    of: (socket) => bySocket.get(socket),
    // Private, but the only link from a TLS socket to the socket it was made from; without it the connection is refused.
    under: (socket) => bySocket.get((socket as TLSSocket & { readonly _parent?: Socket })._parent as Socket),
    add(socket) {
      const connection = pendingConnection(socket);
      bySocket.set(socket, connection);
      deadlines.watch(connection);
      socket.on('close', settleClosed);
      return connection;
    },
    beginHandshake(connection, epoch) {
      connection.epoch = epoch;
    },
  };
}

/** Whether a connection has begun a handshake, by more than our own readiness for one. */
export function isHandshaking({ epoch, isUnseen, socket }: PendingConnection): boolean {
  return epoch !== undefined && !(isUnseen && socket.bytesRead === 0);
}

function pendingConnection(socket: Socket): PendingConnection {
  return {
    socket,
    remoteAddress: unmapped(socket.remoteAddress),
    acceptedAt: performance.now(),
    held: undefined,
    settings: undefined,
    generation: 0,
    epoch: undefined,
    alpn: undefined,
    isAlpnRefused: false,
    isUnseen: false,
  };
}

/** The shortest time between two looks at what is pending. */
const lookMs = 20;

/**
 * One timer for the deadlines of all connections. It is set for the earliest deadline that there may be, and most connections are settled long before, so
 * that they neither set nor clear one of their own.
 */
function createDeadlines(
  bySocket: ReadonlyMap<Socket, PendingConnection>,
  { sniffMs, handshakeMs, onDeadline }: PendingOptions,
): { watch(connection: PendingConnection): void } {
  const shortest = Math.min(sniffMs, handshakeMs);
  const dueOf = (connection: PendingConnection): number =>
    connection.acceptedAt + (isHandshaking(connection) ? handshakeMs : sniffMs);
  let timer: NodeJS.Timeout | undefined;
  let lookAt = Infinity;
  const lookNoLaterThan = (due: number): void => {
    if (due >= lookAt) return;
    lookAt = due;
    clearTimeout(timer);
    timer = setTimeout(look, Math.max(1, due - performance.now())).unref();
  };
  const look = (): void => {
    lookAt = Infinity;
    const now = performance.now();
    let next = Infinity;
    for (const connection of bySocket.values()) {
      // They stand in the order in which they were accepted, so that all later ones have at least as long.
      const soonest = connection.acceptedAt + shortest;
      const due = soonest > now ? soonest : dueOf(connection);
      if (due <= now) onDeadline(connection);
      else next = Math.min(next, due);
      if (soonest > now) break;
    }
    if (next < Infinity) lookNoLaterThan(Math.max(next, now + lookMs));
  };
  return { watch: ({ acceptedAt }) => lookNoLaterThan(acceptedAt + shortest) };
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
