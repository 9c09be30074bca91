import { isEnmeshError } from '../../errors.js';
import type { TrustBundle } from '../../identity/trust-bundle.js';
import { parseTrustDomain } from '../../identity/trust-domain.js';
import { httpsUrlFault } from '../../jwt/https-url.js';
import { readCertificateFacts } from '../../x509/certificate-facts.js';
import { formatPem, parsePem } from '../../x509/pem.js';
import type { CaBundleUrl } from '../mesh-config.js';
import { entryOf } from '../node.js';
import { placeAt, warnAt } from '../place.js';
import { quote } from '../problem.js';
import { invalidAt, listOf, record, refined, text, type Shape } from '../shape.js';

/** One element of MeshConfig `caCertificates`: roots in PEM or where to fetch them, and the trust domains that they sign for. */
export interface CaCertificate {
  readonly pem?: string;
  readonly spiffeBundleUrl?: string;
  readonly trustDomains?: readonly string[];
}

/** A name only: the SPIFFE IDs that parseTrustDomain reads besides are no values of MeshConfig. */
export function isTrustDomainName(value: string): boolean {
  try {
    return parseTrustDomain(value) === value;
  } catch (error) {
    if (isEnmeshError(error)) return false;
    throw error;
  }
}

/** The name of a trust domain. */
export const trustDomainName = refined(text({ min: 1 }), (value, place) => {
  if (!isTrustDomainName(value))
    invalidAt(place, `${quote(value)} is no trust domain`, 'lower-case letters, digits, ".", "-" and "_"');
});

const pem = refined(text({ min: 1, max: 1 << 20 }), (value, place) => {
  if (rootsIn(value) === undefined)
    invalidAt(place, 'must be certificates in PEM', 'BEGIN CERTIFICATE to END CERTIFICATE, as a block of YAML (pem: |)');
});

/** An https URL that a bundle may be fetched from; a text that is none is not repeated, for it may hold a password. */
export const bundleUrl = refined(text({ min: 1, max: 2048 }), (value, place) => {
  const fault = httpsUrlFault(value);
  if (fault !== undefined) invalidAt(place, `must be the URL of a SPIFFE bundle endpoint, and ${fault}`, 'https://host/path');
});

const fields = refined(
  record<CaCertificate>(
    { pem, spiffeBundleUrl: bundleUrl, trustDomains: listOf(trustDomainName) },
    { passedOver: ['certSigners'] },
  ),
  ({ pem: written, spiffeBundleUrl }, place) => {
    if (written !== undefined && spiffeBundleUrl !== undefined)
      invalidAt(
        placeAt(place, 'spiffeBundleUrl'),
        'pem and spiffeBundleUrl are both given',
        'Istio takes one of them in each element',
      );
  },
);

/** An element of `caCertificates`. `certSigners` is real and not obeyed, and warned of. */
export const caCertificate: Shape<CaCertificate> = (place) => {
  const entry = entryOf(place.node, 'certSigners');
  if (entry !== undefined) {
    const at = { node: { ...entry.value, offset: entry.keyOffset }, path: `${place.path}.certSigners`, report: place.report };
    warnAt(at, 'ENMESH_CONFIG_PASSED_OVER', 'this field of caCertificates is not obeyed by enmesh', 'give the roots in pem');
  }
  return fields(place);
};

/** The roots by trust domain, each once; elements without `trustDomains` are of `own`, the mesh's trust domain (as Istio's MeshConfig has it). */
export function caBundles(elements: readonly CaCertificate[], own: string): readonly TrustBundle[] {
  const roots = new Map<string, Set<string>>();
  for (const { pem: text, trustDomains = [own] } of elements) {
    if (text === undefined) continue;
    for (const name of trustDomains) {
      const known = roots.get(name) ?? new Set<string>();
      roots.set(name, known);
      for (const root of rootsIn(text) ?? []) known.add(root);
    }
  }
  return [...roots].map(([trustDomain, known]) => ({ trustDomain, roots: [...known] }));
}

/** Where roots are fetched from, each URL once with all its trust domains; elements without `trustDomains` are of `own`. */
export function caBundleUrls(elements: readonly CaCertificate[], own: string): readonly CaBundleUrl[] {
  const domains = new Map<string, Set<string>>();
  for (const { spiffeBundleUrl: url, trustDomains = [own] } of elements) {
    if (url === undefined) continue;
    const known = domains.get(url) ?? new Set<string>();
    domains.set(url, known);
    for (const name of trustDomains) known.add(name);
  }
  return [...domains].filter(([, known]) => known.size > 0).map(([url, known]) => ({ url, trustDomains: [...known] }));
}

function rootsIn(text: string): readonly string[] | undefined {
  try {
    const ders = parsePem(text, 'CERTIFICATE');
    for (const der of ders) readCertificateFacts(der);
    return ders.length === 0 ? undefined : ders.map((der) => formatPem('CERTIFICATE', der));
  } catch (error) {
    if (isEnmeshError(error)) return undefined;
    throw error;
  }
}
