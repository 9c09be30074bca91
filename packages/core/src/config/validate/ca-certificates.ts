import { isEnmeshError } from '../../errors.js';
import type { TrustBundle } from '../../identity/trust-bundle.js';
import { parseTrustDomain } from '../../identity/trust-domain.js';
import { readCertificateFacts } from '../../x509/certificate-facts.js';
import { formatPem, parsePem } from '../../x509/pem.js';
import { entryOf } from '../node.js';
import { warnAt } from '../place.js';
import { quote } from '../problem.js';
import { invalidAt, listOf, record, refined, text, type Shape } from '../shape.js';

/** One element of MeshConfig `caCertificates`: roots in PEM, and the trust domains that they sign for. */
export interface CaCertificate {
  readonly pem?: string;
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

const fields = record<CaCertificate>(
  { pem, trustDomains: listOf(trustDomainName) },
  { passedOver: ['spiffeBundleUrl', 'certSigners'] },
);

/** An element of `caCertificates`. What is real and not obeyed is warned of: a domain whose roots would come from a URL has none. */
export const caCertificate: Shape<CaCertificate> = (place) => {
  for (const name of ['spiffeBundleUrl', 'certSigners']) {
    const entry = entryOf(place.node, name);
    if (entry === undefined) continue;
    const at = { node: { ...entry.value, offset: entry.keyOffset }, path: `${place.path}.${name}`, report: place.report };
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
