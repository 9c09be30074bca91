import type { Duplex } from 'node:stream';
import type { PeerIdentity } from '../identity/caller.js';
import type { TrustBundle, TrustBundleSet } from '../identity/trust-bundle.js';
import type { Objection } from './admit.js';
import type { PeerCertificates, PeerProof, VerifiedPeer } from './peer-certificate.js';

/** A peer that was verified in a handshake, with what verifying it again takes. Connections that showed the same certificates share one. */
export interface PeerRecord {
  readonly peer: PeerIdentity;
  readonly certificates: PeerCertificates;
  /** What its last verification rests on. */
  proof: PeerProof;
  /** The bundle of the peer's trust domain that signed it last. */
  vouchedBy: TrustBundle | undefined;
  /** The bundles that `objection` was found with. */
  judgedWith: TrustBundleSet;
  /** What those bundles have against the peer. */
  objection: Objection | undefined;
}

interface Shared {
  readonly record: PeerRecord;
  connections: number;
}

const byFingerprint = new Map<string, Shared>();

/** Notes a peer that `bundles` have just verified, until `socket` closes: by fingerprint, so that many idle connections of one caller weigh little. */
export function keepPeer(socket: Duplex, verified: VerifiedPeer, bundles: TrustBundleSet): PeerRecord {
  const { peer, certificates, until, root } = verified;
  const known = byFingerprint.get(peer.certificateSha256);
  if (known !== undefined && !sameIntermediates(known.record.certificates, certificates)) return newRecord(verified, bundles);
  const shared = known ?? { record: newRecord(verified, bundles), connections: 0 };
  if (known === undefined) byFingerprint.set(peer.certificateSha256, shared);
  shared.connections += 1;
  shared.record.proof = { until, root };
  shared.record.vouchedBy = bundles.get(peer.trustDomain);
  shared.record.judgedWith = bundles;
  shared.record.objection = undefined;
  socket.on('close', () => {
    shared.connections -= 1;
    if (shared.connections === 0) byFingerprint.delete(peer.certificateSha256);
  });
  return shared.record;
}

function newRecord({ peer, certificates, until, root }: VerifiedPeer, bundles: TrustBundleSet): PeerRecord {
  const vouchedBy = bundles.get(peer.trustDomain);
  return { peer, certificates, proof: { until, root }, vouchedBy, judgedWith: bundles, objection: undefined };
}

function sameIntermediates(a: PeerCertificates, b: PeerCertificates): boolean {
  if (a === b) return true;
  const { length } = a.intermediates;
  return (
    length === b.intermediates.length &&
    a.intermediates.every((der, at) => Buffer.compare(der, b.intermediates[at] as Uint8Array) === 0)
  );
}

/** How many distinct peers are kept, for tests that nothing stays behind. */
export function keptPeers(): number {
  return byFingerprint.size;
}
