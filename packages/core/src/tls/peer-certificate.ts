import type { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import type { PeerIdentity } from '../identity/caller.js';
import type { TrustBundleSet } from '../identity/trust-bundle.js';
import { verifySvidChain } from '../x509/svid-verify.js';
import { readPeerIdentity } from './peer.js';

/** More certificates than any chain of ours: a longer one is cut here and then verifies only if it did not need the rest. */
const maxIntermediates = 8;

/** What a peer sent in its handshake, in DER: the leaf, and whatever else stood in its Certificate message or was built from it. */
export interface PeerCertificates {
  readonly leaf: Uint8Array;
  readonly intermediates: readonly Uint8Array[];
}

/**
 * The certificates of a live, verified connection; undefined when OpenSSL did not authorize it or it has none.
 * Call it once per connection: on a client Node takes the leaf off OpenSSL's list each time it is asked.
 */
export function peerCertificates(socket: TLSSocket): PeerCertificates | undefined {
  if (socket.authorized !== true) return undefined;
  const leaf = socket.getPeerX509Certificate();
  if (leaf === undefined) return undefined;
  const intermediates: Uint8Array[] = [];
  let issuer: X509Certificate | undefined = leaf.issuerCertificate;
  while (issuer !== undefined && intermediates.length < maxIntermediates) {
    intermediates.push(issuer.raw);
    issuer = issuer.issuerCertificate;
  }
  return { leaf: leaf.raw, intermediates };
}

/**
 * The identity of a peer by security rule 2: the leaf is an X.509-SVID, and the bundle of its own trust domain signs it, which OpenSSL, asked
 * with the roots of all domains at once, has not shown. Throws an `ENMESH_X509_` code otherwise.
 */
export function verifyPeer(certificates: PeerCertificates, bundles: TrustBundleSet, now: number): PeerIdentity {
  const peer = readPeerIdentity(certificates.leaf);
  verifySvidChain({ ...certificates, bundles, now });
  return peer;
}
