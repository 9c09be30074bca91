import { constants, randomBytes, X509Certificate } from 'node:crypto';
import type { SecureContextOptions } from 'node:tls';
import { EnmeshError, isEnmeshError } from '../errors.js';
import type { MeshIdentity } from '../identity/source.js';
import type { X509Svid } from '../identity/svid.js';
import type { TrustBundleSet } from '../identity/trust-bundle.js';
import { pemBlocks } from '../x509/pem.js';
import { istioCiphers } from './accept-settings.js';

/** An SVID and the bundles that go with it at one moment: what one secure context is made of. */
export interface IdentityEpoch {
  readonly svid: X509Svid;
  readonly bundles: TrustBundleSet;
}

/**
 * What the identity holds now, `now` in milliseconds since the epoch. Throws `ENMESH_IDENTITY_NONE` while there is none, and when the SVID that a
 * source still gives has ended: nothing made of it earlier may be shown either.
 */
export function currentEpoch(identity: MeshIdentity, now: number): IdentityEpoch {
  const svid = identity.svid.current();
  // Written so that a clock that is no number refuses.
  if (!(now < svid.notAfter)) throw new EnmeshError('ENMESH_IDENTITY_NONE', `The SVID of ${svid.id.uri} has expired`);
  return { svid, bundles: identity.bundles.current() };
}

/**
 * The full options of a mutual TLS context: own chain and key, the roots of all bundles, Istio's ciphers, TLS 1.2 or better, neither tickets
 * (a resumed session skips identity and trust checks in Node) nor renegotiation. Throws `ENMESH_TLS_IDENTITY_UNUSABLE` without any root.
 */
export function contextOptions(
  epoch: IdentityEpoch,
  o: { readonly minVersion?: 'TLSv1.2' | 'TLSv1.3'; readonly ciphers?: readonly string[] },
): SecureContextOptions {
  const roots = [...epoch.bundles.values()].flatMap((bundle) => bundle.roots);
  // An absent `ca` makes OpenSSL trust the public authorities.
  if (roots.length === 0) throw new EnmeshError('ENMESH_TLS_IDENTITY_UNUSABLE', 'no trust bundle holds a root certificate');
  const suites = o.ciphers === undefined || o.ciphers.length === 0 ? istioCiphers : o.ciphers;
  return {
    key: epoch.svid.privateKey.export({ type: 'pkcs8', format: 'pem' }),
    cert: shownChain(epoch),
    ca: roots,
    minVersion: o.minVersion ?? 'TLSv1.2',
    ciphers: suites.join(':'),
    honorCipherOrder: true,
    secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
    sessionIdContext: randomBytes(16).toString('hex'),
  };
}

/**
 * The chain as a peer gets to see it: a leaf that a root has signed itself goes out with that root. OpenSSL would send the same two, but given the leaf
 * alone it searches the root and verifies our own chain anew in every handshake, for a tenth of what the handshake costs.
 */
function shownChain({ svid: { chain, id }, bundles }: IdentityEpoch): string {
  if (pemBlocks(chain).filter(({ label }) => label === 'CERTIFICATE').length !== 1) return chain;
  const leaf = new X509Certificate(chain);
  const roots = (bundles.get(id.trustDomain)?.roots ?? []).map((pem) => new X509Certificate(pem));
  const signers = roots.filter((root) => leaf.checkIssued(root) && leaf.verify(root.publicKey));
  // Of several with the same key, the one that lives longest, as OpenSSL has it.
  const root = signers.sort((a, b) => Date.parse(a.validTo) - Date.parse(b.validTo)).at(-1);
  return root === undefined ? chain : `${leaf.toString()}${root.toString()}`;
}

/** Runs `make` and turns what OpenSSL throws into `ENMESH_TLS_IDENTITY_UNUSABLE` with its code alone: its message may quote the input. */
export function withUsableIdentity<T>(make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (isEnmeshError(error)) throw error;
    throw new EnmeshError('ENMESH_TLS_IDENTITY_UNUSABLE', `OpenSSL refuses the identity held: ${codeOf(error)}`);
  }
}

/** The short code of whatever was thrown; its message is not for logs. */
export function codeOf(error: unknown): string {
  if (typeof error !== 'object' || error === null) return typeof error;
  const { code, name } = error as { readonly code?: unknown; readonly name?: unknown };
  return typeof code === 'string' ? code : typeof name === 'string' ? name : 'error';
}
