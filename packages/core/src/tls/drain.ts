import type { Server } from 'node:https';
import type { Duplex } from 'node:stream';
import { closeAfter, connectionsOf, responseOn } from './connections.js';
import { closeWebSocket } from './end-stream.js';

const draining = new WeakMap<Server, Promise<void>>();

/** How often connections are looked at while a server drains, in milliseconds. */
const sweepMs = 25;

/**
 * Closes a server of `createTlsServer` without cutting anyone off: it stops accepting at once, ends what is idle or has not asked anything yet,
 * lets requests in flight finish with `Connection: close`, closes WebSockets of `ws` with 1001, and destroys whatever is left (upgraded sockets too)
 * after `deadlineMs`, 10000 by default. Resolves when the last connection is gone. A second call waits for the first.
 */
export function drainServer(server: Server, o: { readonly deadlineMs?: number } = {}): Promise<void> {
  let done = draining.get(server);
  if (done === undefined) draining.set(server, (done = drain(server, o.deadlineMs ?? 10_000)));
  return done;
}

function drain(server: Server, deadlineMs: number): Promise<void> {
  return new Promise((resolve) => {
    let isClosed = false;
    const finish = (): void => {
      if (!isClosed || connectionsOf(server).size > 0) return;
      clearInterval(sweeping);
      clearTimeout(deadline);
      resolve();
    };
    const sweep = (): void => {
      sweepConnections(server);
      finish();
    };
    const sweeping = setInterval(sweep, sweepMs);
    const deadline = setTimeout(() => endAll(server), deadlineMs);
    server.prependListener('request', (_request, response) => closeAfter(response));
    sweepConnections(server);
    for (const socket of connectionsOf(server)) closeWebSocket(socket, 1001, 'going away');
    // An error says that it was closed already or never listened; its connections are waited for all the same.
    server.close(() => {
      isClosed = true;
      finish();
    });
  });
}

/** Node's own `closeIdleConnections` leaves connections alone that have never sent a request; those are ended here. */
function sweepConnections(server: Server): void {
  for (const socket of connectionsOf(server)) {
    const response = responseOn(socket);
    if (response) closeAfter(response);
    else if (isUnused(socket)) socket.destroy();
  }
  server.closeIdleConnections();
}

function endAll(server: Server): void {
  server.closeAllConnections();
  for (const socket of connectionsOf(server)) socket.destroy();
}

/** Whether not one decrypted byte has come: Node counts the bytes of the handshake elsewhere. */
function isUnused(socket: Duplex): boolean {
  return (socket as Duplex & { readonly bytesRead?: number }).bytesRead === 0;
}
