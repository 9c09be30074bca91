import { createPublicKey, X509Certificate, type JsonWebKey } from 'node:crypto';
import { EnmeshError, isEnmeshError } from '../errors.js';
import type { TrustBundle } from '../identity/trust-bundle.js';
import { parseJwtBundle, type JwtBundle } from '../jwt/jwt-svid.js';
import { isJsonObject, parseStrictJson } from '../jwt/strict-json.js';
import { readCertificateFacts } from '../x509/certificate-facts.js';
import { formatPem } from '../x509/pem.js';

/** A bundle in the SPIFFE bundle format: what signs the X.509-SVIDs and the JWT-SVIDs of a trust domain. */
export interface SpiffeBundle {
  readonly x509: TrustBundle;
  readonly jwt: JwtBundle;
  /** Grows with every change; undefined when the publisher does not count. */
  readonly sequence: number | undefined;
  /** In seconds. */
  readonly refreshHint: number | undefined;
}

const maxKeys = 200;

/**
 * Reads a SPIFFE bundle (SPIFFE Trust Domain and Bundle section 4), which does not name its trust domain. Keys of another `use` are passed over; a key
 * for X.509-SVIDs has exactly one certificate in `x5c`, whose key it is. A bundle without keys is valid and signs nothing.
 * Throws `ENMESH_ISSUANCE_BUNDLE`.
 */
export function parseSpiffeBundle(trustDomain: string, text: Uint8Array | string): SpiffeBundle {
  const set = readObject(text);
  const members = set['keys'];
  if (!Array.isArray(members)) throw invalid('it has no list "keys"');
  if (members.length > maxKeys) throw invalid(`it has more than ${maxKeys} keys`);
  const roots = members
    .filter(isJsonObject)
    .filter(({ use }) => use === 'x509-svid')
    .map(readRoot);
  return {
    x509: { trustDomain, roots: [...new Set(roots)] },
    jwt: readJwt(trustDomain, text),
    sequence: readInteger(set, 'spiffe_sequence'),
    refreshHint: readInteger(set, 'spiffe_refresh_hint'),
  };
}

function readObject(text: Uint8Array | string): Readonly<Record<string, unknown>> {
  let set: unknown;
  try {
    set = parseStrictJson(text);
  } catch {
    throw invalid('it is not JSON, or not JSON that every reader reads alike');
  }
  if (!isJsonObject(set)) throw invalid('it is no JSON object');
  return set;
}

function readRoot(member: Readonly<Record<string, unknown>>): string {
  const { x5c } = member;
  const [text, more] = Array.isArray(x5c) ? (x5c as unknown[]) : [];
  if (typeof text !== 'string' || more !== undefined) throw invalid('a key for X.509-SVIDs has not exactly one certificate');
  const der = Buffer.from(text, 'base64');
  if (der.toString('base64') !== text) throw invalid('a certificate is not in base64');
  try {
    readCertificateFacts(der);
    const key = createPublicKey({ key: member as JsonWebKey, format: 'jwk' });
    if (!new X509Certificate(der).publicKey.equals(key)) throw invalid('a certificate is of another key than it stands with');
  } catch (error) {
    if (isEnmeshError(error, 'ENMESH_ISSUANCE_BUNDLE')) throw error;
    throw invalid('a certificate, or the key that it stands with, cannot be read');
  }
  return formatPem('CERTIFICATE', der);
}

function readJwt(trustDomain: string, text: Uint8Array | string): JwtBundle {
  try {
    return parseJwtBundle(trustDomain, text, { isUseRequired: true });
  } catch (error) {
    if (!isEnmeshError(error)) throw error;
    throw invalid(error.message);
  }
}

function readInteger(set: Readonly<Record<string, unknown>>, name: string): number | undefined {
  const value = set[name];
  if (value === undefined) return undefined;
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0) throw invalid(`${name} is no whole number`);
  return value;
}

function invalid(reason: string): EnmeshError {
  return new EnmeshError('ENMESH_ISSUANCE_BUNDLE', `Not a SPIFFE bundle: ${reason}`);
}
