import { EnmeshError } from '../errors.js';
import { parseSpiffeId } from './spiffe-id.js';

/**
 * Reads the name of a trust domain as people configure it: `cluster.local`, or any SPIFFE ID of it
 * (SPIFFE-ID section 2.1; lower-case letters, digits, dots, dashes and underscores, at most 255 bytes).
 * Throws `ENMESH_IDENTITY_TRUST_DOMAIN_INVALID`.
 */
export function parseTrustDomain(text: string): string {
  if (text.includes(':/')) return trustDomainOf(text);
  if (text.length === 0) throw invalid('a trust domain cannot be empty');
  if (text.length > 255) throw invalid('a trust domain is at most 255 bytes long');
  if (!/^[a-z0-9._-]+$/.test(text))
    throw invalid(`${JSON.stringify(text)} may hold lower-case letters, digits, dots, dashes and underscores`);
  return text;
}

function trustDomainOf(uri: string): string {
  try {
    return parseSpiffeId(uri).trustDomain;
  } catch (cause) {
    throw invalid(cause instanceof Error ? cause.message : 'not a SPIFFE ID', cause);
  }
}

function invalid(reason: string, cause?: unknown): EnmeshError {
  return new EnmeshError('ENMESH_IDENTITY_TRUST_DOMAIN_INVALID', `Not a trust domain: ${reason}`, { cause });
}
