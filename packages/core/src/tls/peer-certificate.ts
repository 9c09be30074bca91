import { X509Certificate } from 'node:crypto';
import type { DetailedPeerCertificate, TLSSocket } from 'node:tls';
import { isEnmeshError } from '../errors.js';
import type { PeerIdentity } from '../identity/caller.js';
import type { TrustBundle } from '../identity/trust-bundle.js';
import type { TrustBundleSet } from '../identity/trust-bundle.js';
import { parsePem } from '../x509/pem.js';
import { hasRoot, verifySvidPath, type SvidPath } from '../x509/svid-verify.js';
import { readPeerIdentity } from './peer.js';
import type { PeerRecord } from './peer-records.js';
import type { IdentityEpoch } from './secure-context.js';
import { leafInSession } from './session-leaf.js';

/** More certificates than any chain of ours: a longer one is cut here and then verifies only if it did not need the rest. */
const maxIntermediates = 8;

/** What a peer sent in its handshake, in DER: the leaf, and the rest of its Certificate message as far as Node shows it. */
export interface PeerCertificates {
  readonly leaf: Uint8Array;
  readonly intermediates: readonly Uint8Array[];
}

/** What a client showed on one connection, in DER. */
export interface ClientCertificates {
  readonly leaf: Uint8Array;
  /** What else it sent. To be asked at most once, for Node gives the rest of a chain away with its first answer. */
  readonly intermediates: () => readonly Uint8Array[];
}

/** What a client showed on a live, verified connection; undefined when OpenSSL did not authorize it or it has none. */
export function clientCertificates(socket: TLSSocket): ClientCertificates | undefined {
  const certificate = socket.authorized === true ? socket.getPeerX509Certificate() : undefined;
  return certificate && { leaf: certificate.raw, intermediates: () => intermediatesOf(certificate) };
}

function intermediatesOf(certificate: X509Certificate): readonly Uint8Array[] {
  const intermediates: Uint8Array[] = [];
  let issuer = certificate.issuerCertificate;
  while (issuer !== undefined && intermediates.length < maxIntermediates) {
    intermediates.push(issuer.raw);
    issuer = issuer.issuerCertificate;
  }
  return intermediates;
}

/** The certificates of a server as Node hands them to `checkServerIdentity`. */
export function serverCertificates(certificate: DetailedPeerCertificate): PeerCertificates {
  const intermediates: Uint8Array[] = [];
  let last = certificate;
  // A root is its own issuer here.
  while (last.issuerCertificate !== undefined && last.issuerCertificate !== last && intermediates.length < maxIntermediates) {
    last = last.issuerCertificate;
    intermediates.push(last.raw);
  }
  return { leaf: certificate.raw, intermediates };
}

/** What a peer's verification rests on. */
export interface PeerProof {
  /** When the first certificate of its chain ends; its own where no chain could be seen. Milliseconds since the epoch. */
  readonly until: number;
  /** Fingerprint of the root that signed; undefined where OpenSSL alone has seen the chain. */
  readonly root: string | undefined;
}

/** A peer, and why it is believed. */
export interface VerifiedPeer extends PeerProof {
  readonly peer: PeerIdentity;
  /** What it was verified with, to be verified again. */
  readonly certificates: PeerCertificates;
}

/** A peer as it was verified before, and with what. */
interface Remembered {
  readonly bundles: TrustBundleSet;
  /** Of our own SVID: its private key is not kept. */
  readonly chain: string;
  /** When it was verified, in milliseconds since the epoch. */
  readonly at: number;
  readonly verified: VerifiedPeer;
}

/** By the end of the leaf's bytes. A caller that connects again shows the same certificate, and verifying it anew costs as much as half of the handshake. */
const remembered = new Map<number, Remembered>();
const mostRemembered = 1024;

/**
 * Who the client of a live connection is, as {@link verifyPeer} tells it; undefined when OpenSSL did not authorize it or it has no certificate. Callers
 * mostly are known, and are recognized without making objects of their certificates, which is dearer than all else here.
 */
export function verifyClient(socket: TLSSocket, epoch: IdentityEpoch, now: number): VerifiedPeer | undefined {
  if (socket.authorized !== true) return undefined;
  const known = recallClient(socket, epoch, now);
  if (known !== undefined) return known;
  const shown = clientCertificates(socket);
  return shown && verifyPeer(shown.leaf, shown.intermediates, epoch, now);
}

function recallClient(socket: TLSSocket, epoch: IdentityEpoch, now: number): VerifiedPeer | undefined {
  const session = socket.getSession();
  if (session === undefined) return undefined;
  const leaf = leafInSession(session);
  const known = leaf && recall(leaf, epoch, now);
  // The secrets of the connection stand in it too.
  session.fill(0);
  return known;
}

/**
 * The identity of a peer by security rule 2: the leaf is an X.509-SVID, and the bundle of its own trust domain signs it, which OpenSSL, asked
 * with the roots of all domains at once, has not shown. `epoch` is the one whose context the handshake used. A leaf is looked at once for each
 * epoch while all of the chain lives that was found then: OpenSSL verifies every handshake all the same. Throws an `ENMESH_X509_` code.
 */
export function verifyPeer(leaf: Uint8Array, sent: () => readonly Uint8Array[], epoch: IdentityEpoch, now: number): VerifiedPeer {
  const known = recall(leaf, epoch, now);
  if (known !== undefined) return known;
  const key = keyOf(leaf);
  remembered.delete(key);
  const verified = verifyNow({ leaf, intermediates: sent() }, epoch, now);
  const oldest = remembered.size < mostRemembered ? undefined : remembered.keys().next().value;
  if (oldest !== undefined) remembered.delete(oldest);
  remembered.set(key, { bundles: epoch.bundles, chain: epoch.svid.chain, at: now, verified });
  return verified;
}

function recall(leaf: Uint8Array, epoch: IdentityEpoch, now: number): VerifiedPeer | undefined {
  const known = remembered.get(keyOf(leaf));
  if (known === undefined || Buffer.compare(known.verified.certificates.leaf, leaf) !== 0) return undefined;
  return isStillSaid(known, epoch, now) ? known.verified : undefined;
}

/** Of the end of its signature, which hardly two share: hashing all of a certificate costs more than comparing it. */
function keyOf(leaf: Uint8Array): number {
  const { length } = leaf;
  return (
    (leaf[length - 1] ?? 0) | ((leaf[length - 2] ?? 0) << 8) | ((leaf[length - 3] ?? 0) << 16) | ((leaf[length - 4] ?? 0) << 24)
  );
}

/** Whether nothing that the verdict was made of is another now; a clock that stands before that time proves nothing. */
function isStillSaid({ bundles, chain, at, verified }: Remembered, epoch: IdentityEpoch, now: number): boolean {
  return bundles === epoch.bundles && chain === epoch.svid.chain && now >= at && now < verified.until;
}

function verifyNow(certificates: PeerCertificates, epoch: IdentityEpoch, now: number): VerifiedPeer {
  const { bundles } = epoch;
  const { leaf } = certificates;
  try {
    const path = verifySvidPath({ ...certificates, bundles, now });
    return { peer: readPeerIdentity(leaf, path), certificates, ...proofOf(path) };
  } catch (error) {
    if (!isEnmeshError(error, 'ENMESH_X509_UNTRUSTED') || !isIssuerHidden(certificates, epoch)) throw error;
    const peer = readPeerIdentity(leaf);
    // OpenSSL has verified the chain, hidden part and all, and had the roots of no other trust domain to do it with. Revocation lists it had not.
    const bundle = bundles.get(peer.trustDomain);
    if (bundles.size === 1 && bundle !== undefined && bundle.crls === undefined)
      return { peer, certificates, until: peer.notAfter, root: undefined };
    // Workloads of one trust domain mostly share their intermediates, so our own chain may have what is missing.
    const intermediates = parsePem(epoch.svid.chain, 'CERTIFICATE').slice(1);
    return { peer, certificates, ...proofOf(verifySvidPath({ leaf, intermediates, bundles, now })) };
  }
}

function proofOf({ until, root }: SvidPath): PeerProof {
  return { until, root };
}

/**
 * Verifies a peer of an open connection against other bundles than those of its handshake, from what the connection remembers. Still signed
 * is whoever an unreduced bundle signed, or one that has kept the root in question, while its chain lives; else the chain is verified anew, without
 * OpenSSL's word for intermediates that Node did not show. Throws an `ENMESH_X509_` code.
 */
export function verifyPeerAgain(
  { peer, certificates, vouchedBy, proof }: Pick<PeerRecord, 'peer' | 'certificates' | 'vouchedBy' | 'proof'>,
  o: { readonly bundles: TrustBundleSet; readonly ownChain: () => string; readonly now: number },
): PeerProof {
  const { bundles, now } = o;
  const bundle = bundles.get(peer.trustDomain);
  if (bundle !== undefined && vouchedBy !== undefined && now < proof.until && isNoStricter(bundle, vouchedBy, proof.root))
    return proof;
  try {
    return proofOf(verifySvidPath({ ...certificates, bundles, now }));
  } catch (error) {
    if (!isEnmeshError(error, 'ENMESH_X509_UNTRUSTED') || certificates.intermediates.length > 0) throw error;
    const intermediates = parsePem(o.ownChain(), 'CERTIFICATE').slice(1);
    if (intermediates.length === 0) throw error;
    return proofOf(verifySvidPath({ leaf: certificates.leaf, intermediates, bundles, now }));
  }
}

/** Whether a bundle accepts what another did: neither the root in question nor, where that is unknown, any is gone, and no revocation list is new. */
function isNoStricter(bundle: TrustBundle, before: TrustBundle, root: string | undefined): boolean {
  const { roots, crls = [] } = bundle;
  if (!crls.every((crl) => before.crls?.includes(crl) === true)) return false;
  return before.roots.every((each) => roots.includes(each)) || (root !== undefined && hasRoot(bundle, root));
}

/** Whether the peer must have sent intermediates that this Node does not show to a server (nodejs/node#65579, in 24.21.0 and 26.8.0). */
function isIssuerHidden({ leaf, intermediates }: PeerCertificates, { bundles }: IdentityEpoch): boolean {
  if (intermediates.length > 0) return false;
  const certificate = new X509Certificate(leaf);
  const roots = [...bundles.values()].flatMap((bundle) => bundle.roots);
  return !roots.some((root) => certificate.checkIssued(new X509Certificate(root)));
}
