import { resolve } from 'node:path';
import { EnmeshError, isEnmeshError } from '../errors.js';
import type { FederatedDomain } from '../identity/federation.js';
import { parseSpiffeId } from '../identity/spiffe-id.js';
import { placeAt } from './place.js';
import { quote } from './problem.js';
import { invalidAt, listOf, oneOf, record, refined, text, type Shape } from './shape.js';
import { bundleUrl, trustDomainName } from './validate/ca-certificates.js';

const maxDomains = 100;

const endpointSpiffeId = refined(text({ min: 1, max: 2048 }), (value, place) => {
  if (trustDomainOf(value) === undefined)
    invalidAt(place, `${quote(value)} is no SPIFFE ID`, 'such as spiffe://partner.example/spire/server');
});

const domain = refined(
  record<FederatedDomain>(
    {
      trustDomain: trustDomainName,
      url: bundleUrl,
      profile: oneOf('https_web', 'https_spiffe'),
      endpointSpiffeId,
      roots: text({ min: 1, max: 4096 }),
    },
    { required: ['trustDomain', 'url'] },
  ),
  (value, place) => {
    if (value.profile !== 'https_spiffe') {
      if (value.endpointSpiffeId !== undefined)
        invalidAt(placeAt(place, 'endpointSpiffeId'), 'belongs to the profile https_spiffe', 'add profile: https_spiffe');
      return;
    }
    if (value.endpointSpiffeId === undefined)
      return void invalidAt(place, 'lacks "endpointSpiffeId"', 'the profile https_spiffe needs the SPIFFE ID of the server');
    if (value.roots === undefined && trustDomainOf(value.endpointSpiffeId) === value.trustDomain)
      invalidAt(place, 'lacks "roots"', `a file with the first bundle of ${value.trustDomain}, whose server gives the next ones`);
  },
);

/** The field `federation` of enmesh.yaml: the bundle endpoints of foreign trust domains, one for each. */
export const federationShape: Shape<readonly FederatedDomain[]> = refined(listOf(domain, { max: maxDomains }), (list, place) => {
  const seen = new Set<string>();
  list.forEach(({ trustDomain }, index) => {
    if (seen.has(trustDomain))
      invalidAt(
        placeAt(place, index, 'trustDomain'),
        `${quote(trustDomain)} is named twice`,
        'a trust domain has one bundle endpoint',
      );
    seen.add(trustDomain);
  });
});

/** The list with its paths made absolute, from `base`. */
export function placeFederation(list: readonly FederatedDomain[], base: string): readonly FederatedDomain[] {
  return list.map((one) => (one.roots === undefined ? one : { ...one, roots: resolve(base, one.roots) }));
}

/** `ENMESH_FEDERATION`: `trust domain=URL`, separated by commas or blanks, of profile https_web. Throws `ENMESH_CONFIG_FEDERATION_INVALID`. */
export function splitFederation(words: string): readonly FederatedDomain[] {
  return words
    .split(/[\s,]+/)
    .filter((word) => word !== '')
    .map((word) => {
      const at = word.indexOf('=');
      // What stands there is not repeated: a URL may hold a password.
      if (at <= 0)
        throw new EnmeshError(
          'ENMESH_CONFIG_FEDERATION_INVALID',
          'ENMESH_FEDERATION: an entry is not trust-domain=URL; write partner.example=https://partner.example/bundle',
        );
      return { trustDomain: word.slice(0, at), url: word.slice(at + 1) };
    });
}

function trustDomainOf(id: string): string | undefined {
  try {
    return parseSpiffeId(id).trustDomain;
  } catch (error) {
    if (isEnmeshError(error)) return undefined;
    throw error;
  }
}
