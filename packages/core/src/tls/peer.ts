import { createHash, X509Certificate, type KeyObject } from 'node:crypto';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { PeerIdentity } from '../identity/caller.js';
import { istioParts } from '../identity/spiffe-id.js';
import { verifySvidLeaf, type SvidLeaf } from '../x509/svid-verify.js';
import type { TlsMode } from './mode.js';
import type { Standing } from './standing.js';

/** What is known of a connection, read once when it was accepted. */
export interface ConnectionFacts {
  readonly tls: boolean;
  /** The verified peer; undefined on plaintext, and on TLS that a server other than `createTlsServer`'s has ended. */
  readonly peer: PeerIdentity | undefined;
  /** TLS server name in lower case; empty when there is none. */
  readonly sni: string;
  /** Addresses with IPv4-mapped IPv6 written as IPv4; empty, and ports 0, where the socket has none. */
  readonly sourceIp: string;
  readonly sourcePort: number;
  readonly destinationIp: string;
  /** The real local port. */
  readonly destinationPort: number;
  /** The mode under which the connection was accepted; undefined on sockets of other servers. */
  readonly mode: TlsMode | undefined;
  /** Whether its server would still take it; undefined on sockets of other servers. */
  readonly standing: Standing | undefined;
}

const factsBySocket = new WeakMap<Duplex, ConnectionFacts>();

/**
 * The facts of the connection under `socket`. Made once per connection and kept, so asking again on each request costs a map look-up.
 * A peer is only ever known for connections that `createTlsServer` verified: TLS ended elsewhere names nobody here.
 */
export function connectionOf(socket: Duplex): ConnectionFacts {
  return factsBySocket.get(socket) ?? recordConnection(socket, { peer: undefined, mode: undefined });
}

/** Notes at accept what {@link connectionOf} then answers. */
export function recordConnection(
  socket: Duplex,
  accepted: {
    readonly peer: PeerIdentity | undefined;
    readonly mode: TlsMode | undefined;
    readonly standing?: Standing;
    /** The TCP socket under one of TLS, which knows its addresses already. */
    readonly transport?: Socket;
  },
): ConnectionFacts {
  const { encrypted, servername } = socket as Duplex & {
    readonly encrypted?: boolean;
    readonly servername?: string | false | null;
  };
  const { remoteAddress, remotePort, localAddress, localPort } = accepted.transport ?? (socket as Duplex & Partial<Socket>);
  const facts: ConnectionFacts = {
    tls: encrypted === true,
    peer: accepted.peer,
    sni: typeof servername === 'string' ? servername.toLowerCase() : '',
    sourceIp: unmapped(remoteAddress),
    sourcePort: remotePort ?? 0,
    destinationIp: unmapped(localAddress),
    destinationPort: localPort ?? 0,
    mode: accepted.mode,
    standing: accepted.standing,
  };
  factsBySocket.set(socket, facts);
  return facts;
}

/**
 * The identity in a leaf certificate in DER, whose chain the caller has verified or is about to verify.
 * Throws the `ENMESH_X509_` code that says why it is no X.509-SVID (X509-SVID section 2), unless it was read before.
 */
export function readPeerIdentity(leaf: Uint8Array, { id, facts }: SvidLeaf = verifySvidLeaf(leaf)): PeerIdentity {
  const parts = istioParts(id);
  const peer: PeerIdentity = Object.freeze({
    spiffeId: id,
    uri: id.uri,
    principal: id.uri.slice('spiffe://'.length),
    trustDomain: id.trustDomain,
    namespace: parts?.namespace,
    serviceAccount: parts?.serviceAccount,
    certificateSha256: createHash('sha256').update(leaf).digest('hex'),
    subject: facts.subject,
    dnsNames: facts.dnsSans,
    notAfter: facts.notAfter,
  });
  leaves.set(peer, leaf);
  return peer;
}

const leaves = new WeakMap<PeerIdentity, Uint8Array>();
const keys = new WeakMap<PeerIdentity, KeyObject>();

/** The public key in the certificate that a peer was read from; undefined for one that was made without a certificate. */
export function peerKeyOf(peer: PeerIdentity): KeyObject | undefined {
  const known = keys.get(peer);
  if (known !== undefined) return known;
  const leaf = leaves.get(peer);
  if (leaf === undefined) return undefined;
  const { publicKey } = new X509Certificate(leaf);
  keys.set(peer, publicKey);
  return publicKey;
}

const mappedIpv4 = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i;

/** An address as policies speak of it: IPv4-mapped IPv6 as IPv4, undefined as the empty string. */
export function unmapped(address: string | undefined): string {
  if (address === undefined) return '';
  return address.startsWith('::') ? address.replace(mappedIpv4, '$1') : address;
}
