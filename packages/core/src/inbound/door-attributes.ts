import { randomUUID } from 'node:crypto';
import type { PeerIdentity, RequestIdentity } from '../identity/caller.js';
import type { SvidSource } from '../identity/source.js';
import type { RequestAttributes } from '../request/attributes.js';
import type { JwtEffects } from '../jwt/outcome.js';
import type { HopUser } from '../propagation/hop-verify.js';
import { removeQueryParameters } from '../propagation/payload-header.js';
import { headerLines, remoteAddress } from '../request/header-lines.js';
import { pathSpellings, type RouterSettings } from '../request/router.js';
import type { ConnectionFacts } from '../tls/peer.js';
import type { HeaderOverlay } from './header-overlay.js';
import type { HeaderScan } from './header-scan.js';

/** What the door knows of a request before policies are asked. */
export interface DoorFacts {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly host: string;
  readonly raw: readonly string[];
  readonly scan: HeaderScan;
  readonly connection: ConnectionFacts;
  readonly router: RouterSettings;
  readonly workloadPort: number;
  readonly svid: SvidSource;
}

/**
 * The attributes of one request, computed when a rule asks: most requests are decided by method, path and peer alone.
 * A class because accessors on a prototype are what makes that free.
 */
export class DoorAttributes implements RequestAttributes {
  user: RequestIdentity | undefined = undefined;
  /** What an external authorizer changed. */
  overlay: HeaderOverlay | undefined = undefined;
  /** What an accepted token changed: policies see its output headers, and its own header and parameter no more, as in Istio. */
  effects: JwtEffects | undefined = undefined;
  /** The user that the peer speaks for, where the user came by a hop token. */
  hop: HopUser | undefined = undefined;
  readonly method: string;
  readonly path: string;
  readonly #facts: DoorFacts;
  #requestId: string | undefined;
  #judgedQuery: string | undefined;
  #spellings: readonly string[] | undefined;

  constructor(facts: DoorFacts) {
    this.method = facts.method;
    this.path = facts.path;
    this.#facts = facts;
  }

  /** Takes the user and the changes of an accepted token, or with nothing goes back to the request as it was sent. */
  accept(token: { readonly user: RequestIdentity | undefined; readonly effects: JwtEffects | undefined } | undefined): void {
    this.user = token?.user;
    this.effects = token?.effects;
    this.#judgedQuery = undefined;
  }

  get pathSpellings(): readonly string[] {
    return (this.#spellings ??= pathSpellings(this.path, this.#facts.router));
  }

  get pathIgnoresCase(): boolean {
    return !this.#facts.router.caseSensitive;
  }

  get host(): string {
    return this.#facts.host.toLowerCase();
  }

  get sourceIp(): string {
    return this.#facts.connection.sourceIp;
  }

  get remoteIp(): string {
    return remoteAddress(this.header('x-forwarded-for'), this.sourceIp);
  }

  get destinationIp(): string {
    return this.#facts.connection.destinationIp;
  }

  get destinationPort(): number {
    return this.#facts.workloadPort;
  }

  get sni(): string {
    return this.#facts.connection.sni;
  }

  get peer(): PeerIdentity | undefined {
    return this.#facts.connection.peer;
  }

  /** The connection that the request came by. */
  get connection(): ConnectionFacts {
    return this.#facts.connection;
  }

  /** This workload's own SPIFFE ID where the connection is one of the mesh's. */
  get ownUri(): string | undefined {
    return this.peer === undefined ? undefined : this.#facts.svid.current().id.uri;
  }

  /** What the pass over the header list found. */
  get scan(): HeaderScan {
    return this.#facts.scan;
  }

  /** The raw query, `''` or what follows `?`. */
  get query(): string {
    return this.rawQuery.slice(1);
  }

  /** The query with its `?`, or `''`. */
  get rawQuery(): string {
    return this.overlay?.query ?? this.#facts.query;
  }

  /** The query with its `?` as the handler gets it: written anew where an accepted token was taken from it. */
  get judgedQuery(): string {
    const { effects } = this;
    if (effects === undefined || effects.removeParams.length === 0) return this.rawQuery;
    return (this.#judgedQuery ??= removeQueryParameters(this.rawQuery, effects.removeParams));
  }

  /** x-request-id as Istio's sidecar would set it: the client's, else one of our own, the same however often it is asked for. */
  get requestId(): string {
    return this.#given('x-request-id') ?? (this.#requestId ??= randomUUID());
  }

  /** x-forwarded-client-cert with this connection's own element at the end (istio-semantics 5.5); undefined on plaintext. */
  get forwardedClientCert(): string | undefined {
    const { peer } = this;
    if (peer === undefined) return undefined;
    const own = [
      `By=${this.#facts.svid.current().id.uri}`,
      `Hash=${peer.certificateSha256}`,
      // Written by RFC 4514, in which every quote has its backslash already: another one would end the text here.
      `Subject="${peer.subject}"`,
      `URI=${peer.uri}`,
    ];
    for (const name of peer.dnsNames) own.push(`DNS=${quotedIfNeeded(name)}`);
    const earlier = headerLines(this.#facts.raw, 'x-forwarded-client-cert');
    return [...(earlier ?? []), own.join(';')].join(',');
  }

  /** x-forwarded-proto: the client's, else what this connection is. */
  get forwardedProto(): string {
    return this.#given('x-forwarded-proto') ?? (this.#facts.connection.tls ? 'https' : 'http');
  }

  /** The first line of a header as an authorizer set it, else as the client sent it. */
  #given(name: string): string | undefined {
    const { overlay } = this;
    if (overlay !== undefined && (overlay.removed.has(name) || overlay.set.has(name))) return overlay.set.get(name);
    return this.#lines(name)?.[0];
  }

  header(name: string): readonly string[] | undefined {
    const { effects } = this;
    if (effects !== undefined && !name.startsWith(':')) {
      if (effects.removeHeaders.includes(name)) return undefined;
      // The client's lines of these names are gone: the strip table holds them all.
      const written = effects.setHeaders.filter(([header]) => header === name);
      if (written.length > 0) return written.map(([, value]) => value);
    }
    if (this.overlay !== undefined && !name.startsWith(':')) {
      const value = this.overlay.set.get(name);
      if (value !== undefined) return [value];
      if (this.overlay.removed.has(name)) return undefined;
    }
    switch (name) {
      case ':method':
        return [this.method];
      case ':path':
        return [this.path + this.judgedQuery];
      case ':authority':
      case 'host':
        return [this.#facts.host];
      case ':scheme':
      case 'x-forwarded-proto':
        return [this.forwardedProto];
      case 'x-request-id':
        return [this.requestId];
      case 'x-forwarded-client-cert': {
        const value = this.forwardedClientCert;
        return value === undefined ? undefined : [value];
      }
      case 'connection':
      case 'keep-alive':
      case 'x-envoy-internal':
        // Envoy takes them off before any policy (istio-semantics 3.9).
        return undefined;
    }
    return this.#lines(name);
  }

  /** The lines as sent, without what the scan removed. */
  #lines(name: string): readonly string[] | undefined {
    const { removed, joined } = this.#facts.scan;
    if (removed?.has(name)) return undefined;
    const value = joined?.get(name);
    return value === undefined ? headerLines(this.#facts.raw, name) : [value];
  }
}

/** A name as an element of x-forwarded-client-cert: one that holds what parts elements or fields stands in quotes, as Envoy's documentation asks of values. */
function quotedIfNeeded(name: string): string {
  return /[",;=\\]/.test(name) ? `"${name.replace(/["\\]/g, '\\$&')}"` : name;
}
