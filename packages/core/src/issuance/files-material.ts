import { EnmeshError, isEnmeshError } from '../errors.js';
import { istioParts } from '../identity/spiffe-id.js';
import type { X509Svid } from '../identity/svid.js';
import type { TrustBundle } from '../identity/trust-bundle.js';
import { readCertificateFacts } from '../x509/certificate-facts.js';
import { formatPem, parsePem } from '../x509/pem.js';
import { parseX509Svid, verifySvidChain } from '../x509/svid-verify.js';
import type { IdentityRequest } from './provider.js';

const maxRoots = 500;

/** The texts of an identity's three files as they were read. */
export interface FilesTexts {
  readonly certificate: string;
  readonly privateKey: string;
  readonly roots: string;
}

/** What three files say once they are found to belong together. */
export interface FilesMaterial {
  readonly svid: X509Svid;
  /** The bundle of the SVID's own trust domain. */
  readonly bundle: TrustBundle;
}

/**
 * Makes an identity of chain, key and roots if they belong together now: the key is the leaf's, the chain is signed by the roots, the leaf is an SVID
 * that is valid at `now` (milliseconds since the epoch) and of the mesh's trust domain or an alias of it. Throws `ENMESH_ISSUANCE_TRUST_DOMAIN`,
 * `ENMESH_ISSUANCE_FILES_UNUSABLE` for roots that hold none, and what `parseX509Svid` and `verifySvidChain` throw.
 */
export function readMaterial(texts: FilesTexts, request: IdentityRequest, now: number): FilesMaterial {
  const svid = naming('the certificate chain', () => parseX509Svid({ chain: texts.certificate, privateKey: texts.privateKey }));
  const { trustDomain } = svid.id;
  const admitted = [request.trustDomain, ...(request.trustDomainAliases ?? [])];
  if (!admitted.includes(trustDomain)) {
    const message = `the SVID is ${svid.id.uri}, and the trust domain of the mesh is ${admitted.join(' or ')}`;
    throw new EnmeshError('ENMESH_ISSUANCE_TRUST_DOMAIN', message);
  }
  const bundle = readBundle(texts.roots, trustDomain);
  const [leaf, ...intermediates] = parsePem(svid.chain, 'CERTIFICATE');
  verifySvidChain({ leaf: leaf!, intermediates, bundles: new Map([[trustDomain, bundle]]), now });
  return { svid, bundle };
}

/**
 * Reads the roots of one trust domain from PEM, each once. Throws `ENMESH_ISSUANCE_FILES_UNUSABLE` when there is none or there are more than 500, and
 * `ENMESH_X509_MALFORMED` when any cannot be read: half a bundle would turn good peers away.
 */
export function readBundle(text: string, trustDomain: string): TrustBundle {
  return naming(`the roots of ${trustDomain}`, () => readRoots(text, trustDomain));
}

function readRoots(text: string, trustDomain: string): TrustBundle {
  const ders = parsePem(text, 'CERTIFICATE');
  if (ders.length === 0 || ders.length > maxRoots) {
    const message = `the roots of ${trustDomain} hold ${ders.length} certificates; 1 to ${maxRoots} can be used`;
    throw new EnmeshError('ENMESH_ISSUANCE_FILES_UNUSABLE', message);
  }
  for (const der of ders) readCertificateFacts(der);
  return { trustDomain, roots: [...new Set(ders.map((der) => formatPem('CERTIFICATE', der)))] };
}

/** Bytes that cannot be read say nothing of the file that they are from. */
function naming<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    if (!isEnmeshError(cause, 'ENMESH_X509_MALFORMED')) throw cause;
    throw new EnmeshError('ENMESH_X509_MALFORMED', `${what}: ${cause.message}`, { cause });
  }
}

/** Why an SVID's name is not what this workload should have, as a sentence; undefined when it is, or is not in Istio's form. */
export function nameDoubt(svid: X509Svid, { workload }: IdentityRequest): string | undefined {
  const parts = istioParts(svid.id);
  if (parts === undefined) {
    return `The SVID ${svid.id.uri} is not in Istio's form /ns/<namespace>/sa/<service account>: policies by namespace do not match this workload`;
  }
  const { namespace, serviceAccount } = workload;
  if (parts.namespace === namespace && parts.serviceAccount === serviceAccount) return undefined;
  return `The SVID is ${svid.id.uri}, and this workload is configured as namespace ${namespace}, service account ${serviceAccount}: others know it by its SVID`;
}
