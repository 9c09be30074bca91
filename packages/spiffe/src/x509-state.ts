import { createPrivateKey, type KeyObject } from 'node:crypto';
import { EnmeshError, isEnmeshError, parseSpiffeId, parseTrustDomain } from '@enmesh/core/issuance';
import type { TrustBundle, TrustBundleSet, X509Svid } from '@enmesh/core/issuance';
import { formatPem, parseCrl, parseX509Svid, readCertificateFacts, splitDer, verifySvidChain } from '@enmesh/core/x509';
import type { X509SvidMessage, X509SvidResponse } from './messages.js';

const maxSvids = 64;
const maxChain = 11;
const maxRoots = 64;
const maxFederated = 256;
const maxCrls = 64;
/** Of all bundles of a message: reading as many as 4 MiB hold would be felt. */
const maxAllRoots = 1024;

/** The trust bundles of one message, and what of it was left out. */
export interface BundlesOfMessage {
  readonly bundles: TrustBundleSet;
  readonly problems: readonly EnmeshError[];
}

/**
 * Checks that a message has what it must have: at least one SVID, each with an ID, a chain, a key and a bundle (Workload API section 5.2.1).
 * Throws `ENMESH_ISSUANCE_WORKLOAD_MESSAGE`: all of such a message is put aside.
 */
export function checkX509Message(response: X509SvidResponse): void {
  const { svids } = response;
  if (svids.length === 0) throw misshapen('it has no X.509-SVID');
  if (svids.length > maxSvids) throw misshapen(`it has more than ${maxSvids} X.509-SVIDs`);
  for (const { spiffe_id: id, x509_svid: chain, x509_svid_key: key, bundle } of svids) {
    const absent = id === '' ? 'spiffe_id' : chain.length === 0 ? 'x509_svid' : key.length === 0 ? 'x509_svid_key' : 'bundle';
    if (absent !== 'bundle' || bundle.length === 0) throw misshapen(`the mandatory field ${absent} is empty`);
  }
  if (Object.keys(response.federated_bundles).length > maxFederated)
    throw misshapen(`it has bundles of more than ${maxFederated} trust domains`);
  if (response.crl.length > maxCrls) throw misshapen(`it has more than ${maxCrls} revocation lists`);
}

/**
 * Makes an SVID of its message: a leaf that is the X.509-SVID it is said to be, its own key, valid now and signed by the bundle of its trust
 * domain. Throws `ENMESH_ISSUANCE_WORKLOAD_MESSAGE` or the `ENMESH_X509_` code that says why not.
 */
export function readSvid(message: X509SvidMessage, bundles: TrustBundleSet, now: number): X509Svid {
  const [leaf = Buffer.alloc(0), ...intermediates] = splitDer(message.x509_svid, maxChain);
  const chain = [leaf, ...intermediates].map((der) => formatPem('CERTIFICATE', der)).join('');
  const svid = parseX509Svid({ chain, privateKey: readKey(message.x509_svid_key) });
  if (svid.id.uri !== message.spiffe_id) throw misshapen(`it calls the SVID of ${svid.id.uri} by another SPIFFE ID`);
  verifySvidChain({ leaf, intermediates, bundles, now });
  return svid;
}

/**
 * The trust bundles of a message: the own one of each SVID, and the federated ones. An own bundle that cannot be read throws; a federated one is
 * left out and named in `problems`, as are revocation lists that cannot be honoured. Bundles that did not change are those of `before`.
 */
export function readBundles(response: X509SvidResponse, before: TrustBundleSet): BundlesOfMessage {
  const problems: EnmeshError[] = [];
  const crls = readCrls(response.crl, problems);
  const bundles = new Map<string, TrustBundle>();
  let rest = maxAllRoots;
  const add = (trustDomain: string, der: Buffer): void => {
    const bundle = readBundle(trustDomain, { der, crls }, { before, rest });
    rest -= bundle.roots.length;
    bundles.set(trustDomain, bundle);
  };
  for (const message of response.svids) {
    const { trustDomain } = parseSpiffeId(message.spiffe_id);
    if (!bundles.has(trustDomain)) add(trustDomain, message.bundle);
  }
  for (const [name, der] of Object.entries(response.federated_bundles)) {
    try {
      const trustDomain = parseTrustDomain(name);
      // The own bundle is not for others to give.
      if (bundles.has(trustDomain)) throw misshapen(`two bundles of trust domain ${trustDomain}; the later one is left out`);
      add(trustDomain, der);
    } catch (error) {
      problems.push(asProblem(error, `The federated bundle of ${JSON.stringify(name.slice(0, 255))} is left out`));
    }
  }
  return { bundles: reuse(bundles, before), problems };
}

/** What a bundle was read from. */
interface BundleSource {
  readonly der: Buffer;
  readonly crls: readonly Buffer[];
}

const sources = new WeakMap<TrustBundle, BundleSource>();

function readBundle(
  trustDomain: string,
  source: BundleSource,
  { before, rest }: { readonly before: TrustBundleSet; readonly rest: number },
): TrustBundle {
  const known = before.get(trustDomain);
  // Every renewal of any identity brings all bundles again: what did not change is not read again.
  if (known !== undefined && isSameSource(sources.get(known), source)) return known;
  const { der, crls } = source;
  const certificates = splitDer(der, maxRoots);
  if (certificates.length > rest) throw misshapen(`all bundles together have more than ${maxAllRoots} certificates`);
  if (certificates.length === 0) throw misshapen(`the bundle of ${trustDomain} is empty`);
  for (const certificate of certificates) readCertificateFacts(certificate);
  const roots = certificates.map((certificate) => formatPem('CERTIFICATE', certificate));
  const bundle: TrustBundle = crls.length === 0 ? { trustDomain, roots } : { trustDomain, roots, crls };
  sources.set(bundle, source);
  return bundle;
}

function isSameSource(a: BundleSource | undefined, b: BundleSource): boolean {
  if (a === undefined || !a.der.equals(b.der) || a.crls.length !== b.crls.length) return false;
  return a.crls.every((crl, index) => b.crls[index]?.equals(crl) === true);
}

function readCrls(lists: readonly Buffer[], problems: EnmeshError[]): Buffer[] {
  return lists.filter((der) => {
    try {
      parseCrl(der);
      return true;
    } catch (error) {
      problems.push(asProblem(error, 'A revocation list is not honoured'));
      return false;
    }
  });
}

function readKey(der: Buffer): KeyObject {
  try {
    return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  } catch {
    throw new EnmeshError('ENMESH_X509_KEY_INVALID', 'The private key from the Workload API is no PKCS #8');
  }
}

/** Nothing new, same set: whoever compares by identity sees only what changed. */
function reuse(bundles: TrustBundleSet, before: TrustBundleSet): TrustBundleSet {
  const isSame =
    bundles.size === before.size && [...bundles].every(([trustDomain, bundle]) => before.get(trustDomain) === bundle);
  return isSame ? before : bundles;
}

function asProblem(error: unknown, what: string): EnmeshError {
  if (!isEnmeshError(error)) return misshapen(what);
  return new EnmeshError(error.code, `${what}: ${error.message}`);
}

function misshapen(reason: string): EnmeshError {
  return new EnmeshError('ENMESH_ISSUANCE_WORKLOAD_MESSAGE', `A message of the Workload API was put aside: ${reason}`);
}
