import type { Socket } from 'node:net';
import type { DetailedPeerCertificate, TLSSocket } from 'node:tls';
import { addressKey } from './address.js';
import type { ShownCertificate } from './callers.js';

/** The client certificates of open connections, by the address that gRPC names a caller with. */
export interface Connections {
  /** Notes a connection after its handshake, until it closes. */
  add(socket: TLSSocket): void;
  /** The certificate shown on the connection from `peer`: undefined without one. `leaf` is what gRPC itself knows of it, where it does. */
  certificateOf(peer: string, leaf: Buffer | undefined): ShownCertificate | undefined;
  /** Cuts every connection that is still open. */
  destroy(): void;
}

const maxChain = 10;

/** Counts the connections of each address from the moment they are taken, before any handshake: false for one too many. */
export function createConnectionLimit(perAddress: number): (socket: Socket) => boolean {
  const open = new Map<string, number>();
  return (socket) => {
    const key = addressKey(socket.remoteAddress ?? 'unknown');
    const count = (open.get(key) ?? 0) + 1;
    if (count > perAddress) return false;
    open.set(key, count);
    socket.once('close', () => {
      const left = (open.get(key) ?? 1) - 1;
      if (left > 0) open.set(key, left);
      else open.delete(key);
    });
    return true;
  };
}

/** Creates an empty record of connections. */
export function createConnections(): Connections {
  const shown = new Map<string, ShownCertificate>();
  const sockets = new Set<TLSSocket>();
  const byName = new Map<string, number>();
  return {
    add(socket) {
      const peer = `${socket.remoteAddress}:${socket.remotePort}`;
      const certificate = readShown(socket);
      sockets.add(socket);
      byName.set(peer, (byName.get(peer) ?? 0) + 1);
      if (certificate !== undefined) shown.set(peer, certificate);
      socket.once('close', () => {
        sockets.delete(socket);
        const left = (byName.get(peer) ?? 1) - 1;
        if (left > 0) byName.set(peer, left);
        else byName.delete(peer);
        if (shown.get(peer) === certificate) shown.delete(peer);
      });
    },
    certificateOf(peer, leaf) {
      const certificate = shown.get(peer);
      if (certificate === undefined) return undefined;
      // Two clients behind one address could share the name of a connection; what the call's own connection showed decides. Of a certificate with a problem gRPC
      // tells nothing.
      if (certificate.problem !== undefined) return { ...certificate, isSure: byName.get(peer) === 1 };
      return leaf !== undefined && certificate.leaf.equals(leaf) ? certificate : undefined;
    },
    destroy() {
      for (const socket of sockets) socket.destroy();
    },
  };
}

function readShown(socket: TLSSocket): ShownCertificate | undefined {
  const chain: Buffer[] = [];
  let current: DetailedPeerCertificate | undefined = socket.getPeerCertificate(true);
  while (current?.raw !== undefined && chain.length < maxChain && !chain.some((der) => der.equals(current!.raw))) {
    chain.push(current.raw);
    current = current.issuerCertificate as DetailedPeerCertificate | undefined;
  }
  const [leaf, ...intermediates] = chain;
  if (leaf === undefined) return undefined;
  // Typed as an error, it is the code of one.
  const problem = socket.authorized ? undefined : String(socket.authorizationError ?? 'not authorized');
  return { leaf, intermediates, problem, isSure: true };
}
