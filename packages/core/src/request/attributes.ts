import type { PeerIdentity, RequestIdentity } from '../identity/caller.js';

/**
 * All that a policy may know of a request. The door makes one per request; `mesh.evaluate` takes a plain object.
 * A member may be an accessor that computes its value when first read, so read only what a rule asks for.
 */
export interface RequestAttributes {
  /** The request method exactly as sent. */
  readonly method: string;
  /** The normalized path without query and fragment: the very path the router gets. */
  readonly path: string;
  /**
   * Every other spelling that the application's router treats as the same route (security rule 3), without `path` itself.
   * Positive paths of DENY and negative paths of ALLOW also match when one of these does.
   */
  readonly pathSpellings: readonly string[];
  /** True when the router ignores case: the same matches then also hold without case. */
  readonly pathIgnoresCase: boolean;
  /** Host with port if the client sent one, in lower case. */
  readonly host: string;
  /** Address of the TCP peer. IPv4-mapped IPv6 addresses are plain IPv4 here. */
  readonly sourceIp: string;
  /** The client's address by x-forwarded-for as Istio's sidecar reads it (istio-semantics 3.6). */
  readonly remoteIp: string;
  readonly destinationIp: string;
  /** The workload's own port, the one policies speak of. */
  readonly destinationPort: number;
  /** TLS server name in lower case; empty when there is none. */
  readonly sni: string;
  /** The verified peer; undefined on plaintext. */
  readonly peer: PeerIdentity | undefined;
  /** The verified end user; undefined without a valid token. */
  readonly user: RequestIdentity | undefined;
  /**
   * The lines of a header as policies see them (istio-semantics 3.9): undefined when absent, else one string per line, the names that
   * Istio joins already joined. `name` is in lower case and may be a pseudo-header such as `:method`.
   */
  header(name: string): readonly string[] | undefined;
}
