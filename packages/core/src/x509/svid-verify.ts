import { createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto';
import { EnmeshError, isEnmeshError, type ErrorCode } from '../errors.js';
import { parseSpiffeId, type SpiffeId } from '../identity/spiffe-id.js';
import type { X509Svid } from '../identity/svid.js';
import type { TrustBundle, TrustBundleSet } from '../identity/trust-bundle.js';
import { readCertificateFacts, type CertificateFacts } from './certificate-facts.js';
import { isRevoked } from './crl.js';
import { extendedKeyUsageOid } from './extensions.js';
import { findPath, isValidAt, type Candidate } from './path.js';
import { formatPem, parsePem, pemBlocks } from './pem.js';
import { isStrongKey, isStrongSignature, strongKeys } from './strength.js';

const maxIntermediates = 10;

/** A leaf that is an X.509-SVID in form, and what it says. */
export interface SvidLeaf {
  readonly id: SpiffeId;
  readonly facts: CertificateFacts;
}

/**
 * Checks that a certificate (DER) has the form of an X.509-SVID leaf (X509-SVID sections 2 to 5.2): exactly one URI SAN that is a SPIFFE ID with a
 * path, no CA, digitalSignature but neither keyCertSign nor cRLSign, both purposes if any are listed, a strong key, nothing critical that is unknown.
 * It says nothing about trust: signature and validity are the TLS handshake's and `verifySvidChain`'s.
 * Throws `ENMESH_X509_MALFORMED` or `ENMESH_X509_SVID_INVALID`.
 */
export function verifySvidLeaf(der: Uint8Array): SvidLeaf {
  const { id, facts } = readLeaf(der);
  return { id, facts };
}

/**
 * Checks that a leaf is an X.509-SVID which the bundle of its own trust domain signs, now (X509-SVID section 5; X509 path validation of RFC 5280
 * section 6), and that no revocation list of that bundle names it or a signer of it. All certificates are DER, `now` is milliseconds since the epoch.
 * Throws what `verifySvidLeaf` throws, `ENMESH_X509_OUT_OF_VALIDITY`, `ENMESH_X509_UNTRUSTED` or `ENMESH_X509_REVOKED`.
 */
export function verifySvidChain(options: {
  readonly leaf: Uint8Array;
  readonly intermediates: readonly Uint8Array[];
  readonly bundles: TrustBundleSet;
  readonly now: number;
}): SpiffeId {
  return verifySvidPath(options).id;
}

/** A verified SVID, and what that rests on. */
export interface SvidPath {
  readonly id: SpiffeId;
  /** What the leaf says. */
  readonly facts: CertificateFacts;
  /** The earliest end of a certificate of the chain, its root among them, in milliseconds since the epoch. */
  readonly until: number;
  /** SHA-256 fingerprint of the root, for {@link hasRoot}. */
  readonly root: string;
}

/** What {@link verifySvidChain} does, telling also which chain it found. */
export function verifySvidPath(options: Parameters<typeof verifySvidChain>[0]): SvidPath {
  const { now, bundles } = options;
  const leaf = readLeaf(options.leaf);
  const { id } = leaf;
  if (!isValidAt(leaf.facts, now)) {
    const { notBefore, notAfter } = leaf.facts;
    // Without the time of now: the same trouble has to have the same words.
    const times =
      now < notBefore
        ? `not yet valid: it begins at ${new Date(notBefore).toISOString()} by the clock here`
        : `expired: it ended at ${new Date(notAfter).toISOString()}`;
    throw refused('ENMESH_X509_OUT_OF_VALIDITY', `The SVID of ${id.uri} is ${times}`);
  }
  const bundle = bundles.get(id.trustDomain);
  if (bundle === undefined) throw refused('ENMESH_X509_UNTRUSTED', `No trust bundle for the trust domain of ${id.uri}`);
  if (options.intermediates.length > maxIntermediates)
    throw refused('ENMESH_X509_UNTRUSTED', `More than ${maxIntermediates} intermediates came with ${id.uri}`);
  const intermediates = options.intermediates.map(readCandidate);
  const path = findPath({ leaf, intermediates, roots: rootsOf(bundle), now });
  if (path === undefined) {
    const weakness = isStrongSignature(leaf.facts.signatureAlgorithm)
      ? ''
      : ' by an algorithm that is believed: SHA-256, -384 or -512 with RSA or ECDSA, or Ed25519';
    const message = `The bundle of trust domain ${id.trustDomain} does not sign the SVID of ${id.uri}${weakness}`;
    throw refused('ENMESH_X509_UNTRUSTED', message);
  }
  if (isRevoked(path, bundle)) throw refused('ENMESH_X509_REVOKED', `The SVID of ${id.uri}, or a signer of it, is revoked`);
  const until = Math.min(...path.map(({ facts }) => facts.notAfter));
  return { id, facts: leaf.facts, until, root: path.at(-1)?.x509.fingerprint256 ?? '' };
}

/** Whether a bundle holds the root with this fingerprint. */
export function hasRoot(bundle: TrustBundle, fingerprint: string): boolean {
  return rootsOf(bundle).some(({ x509 }) => x509.fingerprint256 === fingerprint);
}

/**
 * Makes an SVID of a PEM chain, leaf first, and its private key in PEM (unencrypted) or as a KeyObject. Blocks of other kinds in `chain` are passed over.
 * The leaf has to be an SVID, every further certificate a CA with keyCertSign, and the key the leaf's own (X509-SVID section 4, as go-spiffe parses).
 * Throws `ENMESH_X509_MALFORMED`, `ENMESH_X509_SVID_INVALID` or `ENMESH_X509_KEY_INVALID`.
 */
export function parseX509Svid(options: { readonly chain: string; readonly privateKey: string | KeyObject }): X509Svid {
  const [first, ...others] = parsePem(options.chain, 'CERTIFICATE');
  if (first === undefined) throw refused('ENMESH_X509_SVID_INVALID', 'There is no certificate in the chain');
  if (others.length > maxIntermediates)
    throw refused('ENMESH_X509_SVID_INVALID', `The chain has more than ${maxIntermediates} intermediates`);
  const { id, facts, x509 } = readLeaf(first);
  for (const { facts: signer } of others.map(readCandidate)) {
    if (!signer.isCa) throw refused('ENMESH_X509_SVID_INVALID', `An intermediate of ${id.uri} is no CA`);
    if (!signer.keyUsage?.has('keyCertSign'))
      throw refused('ENMESH_X509_SVID_INVALID', `An intermediate of ${id.uri} has no keyCertSign`);
  }
  const privateKey = typeof options.privateKey === 'string' ? readPrivateKey(options.privateKey) : options.privateKey;
  if (privateKey.type !== 'private') throw refused('ENMESH_X509_KEY_INVALID', `The key of ${id.uri} is no private key`);
  if (!x509.checkPrivateKey(privateKey))
    throw refused('ENMESH_X509_KEY_INVALID', `The private key does not belong to the certificate of ${id.uri}`);
  const chain = [first, ...others].map((der) => formatPem('CERTIFICATE', der)).join('');
  return { id, chain, privateKey, notBefore: facts.notBefore, notAfter: facts.notAfter, serial: facts.serial };
}

/** Reads the one private key of a PEM text (PKCS #8, SEC 1 or PKCS #1, unencrypted). Throws `ENMESH_X509_KEY_INVALID`, never quoting the text. */
export function readPrivateKey(text: string): KeyObject {
  const keys = pemBlocks(text).filter(({ label }) => label.endsWith('PRIVATE KEY'));
  const [key] = keys;
  if (key === undefined || keys.length > 1)
    throw refused('ENMESH_X509_KEY_INVALID', `Expected one private key in PEM and found ${keys.length}`);
  if (key.label.startsWith('ENCRYPTED') || key.body.includes('ENCRYPTED')) {
    throw refused('ENMESH_X509_KEY_INVALID', 'The private key is encrypted; give it without a passphrase');
  }
  try {
    return createPrivateKey(key.text);
  } catch {
    throw refused('ENMESH_X509_KEY_INVALID', 'The private key cannot be read');
  }
}

function readLeaf(der: Uint8Array): Candidate & SvidLeaf {
  const candidate = readCandidate(der);
  const { facts } = candidate;
  const [uri, second] = facts.uriSans;
  const problem =
    uri === undefined ? 'it has no URI SAN' : second === undefined ? leafProblem(facts) : 'it has more than one URI SAN';
  if (problem !== undefined || uri === undefined) throw refused('ENMESH_X509_SVID_INVALID', `Not an X.509-SVID: ${problem}`);
  const id = readId(uri);
  if (id.path === '') throw refused('ENMESH_X509_SVID_INVALID', `Not an X.509-SVID: ${uri} names a trust domain, not a workload`);
  if (!isStrongKey(candidate.key))
    throw refused(
      'ENMESH_X509_SVID_INVALID',
      `Not an X.509-SVID: the key of ${uri} is too weak or of another kind; ${strongKeys}`,
    );
  return { ...candidate, id };
}

function leafProblem(facts: CertificateFacts): string | undefined {
  const { keyUsage, extendedKeyUsage } = facts;
  if (facts.isCa) return 'it is a CA';
  if (!keyUsage?.has('digitalSignature')) return 'it has no digitalSignature';
  if (keyUsage.has('keyCertSign') || keyUsage.has('cRLSign')) return 'it has keyCertSign or cRLSign';
  const purposes = [extendedKeyUsageOid.serverAuth, extendedKeyUsageOid.clientAuth];
  if (extendedKeyUsage !== undefined && !purposes.every((oid) => extendedKeyUsage.includes(oid))) {
    return 'its extended key usage does not list serverAuth and clientAuth';
  }
  if (facts.otherSans.has('otherName')) return 'it has a SAN of kind otherName';
  if (facts.nameConstraints !== undefined) return 'it has name constraints';
  return facts.unknownCritical.length > 0 ? 'it has a critical extension that is not understood' : undefined;
}

function readId(uri: string): SpiffeId {
  try {
    return parseSpiffeId(uri);
  } catch (cause) {
    if (!isEnmeshError(cause)) throw cause;
    throw refused('ENMESH_X509_SVID_INVALID', `Not an X.509-SVID: ${cause.message}`, cause);
  }
}

function readCandidate(der: Uint8Array): Candidate {
  // Strictly read first: OpenSSL would also take PEM, and bytes after the end.
  const facts = readCertificateFacts(der);
  try {
    const x509 = new X509Certificate(der);
    return { x509, key: x509.publicKey, facts };
  } catch {
    throw refused('ENMESH_X509_MALFORMED', 'Not a certificate: OpenSSL cannot read it or its key');
  }
}

const rootsByBundle = new WeakMap<TrustBundle, readonly Candidate[]>();

function rootsOf(bundle: TrustBundle): readonly Candidate[] {
  const known = rootsByBundle.get(bundle);
  if (known !== undefined) return known;
  const roots = bundle.roots.flatMap((pem) => {
    try {
      return parsePem(pem, 'CERTIFICATE').map(readCandidate);
    } catch {
      // A root that cannot be read signs nothing; the others of its bundle still do.
      return [];
    }
  });
  rootsByBundle.set(bundle, roots);
  return roots;
}

function refused(code: ErrorCode, message: string, cause?: unknown): EnmeshError {
  return new EnmeshError(code, message, { cause });
}
