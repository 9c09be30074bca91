import type { TrustBundleSet } from '../identity/trust-bundle.js';
import type { VerifiedServer } from '../tls/client.js';

/** A connection whose server is no longer believed may finish what it carries for so many milliseconds. */
export const graceMs = 15_000;

/** How often clients look for connections whose server's certificate has ended, in milliseconds: an idle one is closed so late at the most. */
export const expirySweepMs = 5_000;

/** Distinct servers behind one pool; a name that leads to more is one nothing is known of when bundles change. */
const mostServers = 64;

/** Whom the connections of one pool lead to. */
export interface Servers {
  /** When the first certificate among all their chains ends, in milliseconds since the epoch; Infinity without mutual TLS. */
  readonly until: number;
  /** Notes the server of a new connection. */
  add(server: VerifiedServer): void;
  /** Whether these bundles would still accept all of them. */
  isTrusted(bundles: TrustBundleSet, now: number): boolean;
}

/** Creates the memory; `onUntil` is told each time when the end has moved nearer. */
export function createServers(onUntil: (until: number) => void = () => {}): Servers {
  const byCertificate = new Map<string, VerifiedServer>();
  let until = Infinity;
  let isOverfull = false;
  return {
    get until() {
      return until;
    },
    add(server) {
      if (byCertificate.size < mostServers) byCertificate.set(server.certificateSha256, server);
      else if (!byCertificate.has(server.certificateSha256)) isOverfull = true;
      if (server.until >= until) return;
      until = server.until;
      onUntil(until);
    },
    isTrusted: (bundles, now) => !isOverfull && [...byCertificate.values()].every((server) => server.isTrusted(bundles, now)),
  };
}
