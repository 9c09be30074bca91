import { decodeBase64url, decodeBase64urlBriefly } from './base64url.js';
import { refusals, type JwtRefusal } from './outcome.js';
import { isJsonObject, parseStrictJson } from './strict-json.js';

/** Longest token, in characters, that is looked at. */
export const maxTokenLength = 16 * 1024;

/** A JWS in compact form (RFC 7515 section 7.1), read strictly and not yet verified; `claims` is what its reader made of the payload. */
export interface Jws<Claims extends object = object> {
  readonly ok: true;
  readonly alg: string;
  /** Empty when the header names no key. */
  readonly kid: string;
  readonly signingInput: string;
  readonly signature: Uint8Array;
  /** The payload as it stands in the token. */
  readonly payloadSegment: string;
  readonly claims: Claims;
}

// HS* parse because Istio's answer to them is that of a failed verification; no key here ever fits one.
const knownAlgorithms = new Set(
  ['RS', 'PS', 'ES', 'HS'].flatMap((family) => [256, 384, 512].map((size) => `${family}${size}`)).concat('EdDSA'),
);
const refusedMembers = ['crit', 'b64', 'jku', 'x5u', 'jwk', 'zip', 'enc'];

/**
 * Reads a compact JWS strictly, in the order and with the answers of Envoy's parser (istio-semantics 2.5 step 1 and 2.6), and refuses what
 * that parser lets pass: other spellings of base64url, extra dots, lax JSON, `crit` and its kin, more than 16 KiB.
 * `readPayload` takes the decoded payload, which counts only during that call; its own refusal, told by a member `ok`, comes before those of the signature part.
 */
export function parseJws<Claims extends object>(
  text: string,
  readPayload: (octets: Uint8Array) => Claims | JwtRefusal,
): Jws<Claims> | JwtRefusal {
  if (text.length > maxTokenLength) return refusals.tooLong;
  const first = text.indexOf('.');
  const second = text.indexOf('.', first + 1);
  // Three parts, none of them empty.
  if (first < 1 || second < first + 2 || second === text.length - 1 || text.includes('.', second + 1)) return refusals.form;
  const header = parseHeader(text.slice(0, first));
  if ('ok' in header) return header;
  const payloadSegment = text.slice(first + 1, second);
  const octets = decodeBase64urlBriefly(payloadSegment);
  if (octets === undefined) return refusals.payloadBase64;
  const claims = readPayload(octets);
  if ('ok' in claims) return claims as JwtRefusal;
  const signature = decodeBase64url(text.slice(second + 1));
  if (signature === undefined) return refusals.signatureBase64;
  const { alg, kid } = header;
  return { ok: true, alg, kid, signingInput: text.slice(0, second), signature, payloadSegment, claims };
}

// Tokens of one issuer share their header, so the last good one saves a third of the reading.
let lastSegment = '';
let lastHeader: Pick<Jws, 'alg' | 'kid'> = { alg: '', kid: '' };

function parseHeader(segment: string): Pick<Jws, 'alg' | 'kid'> | JwtRefusal {
  if (segment === lastSegment) return lastHeader;
  const header = readHeader(segment);
  if ('ok' in header) return header;
  lastSegment = segment;
  lastHeader = header;
  return header;
}

function readHeader(segment: string): Pick<Jws, 'alg' | 'kid'> | JwtRefusal {
  const octets = decodeBase64urlBriefly(segment);
  if (octets === undefined) return refusals.headerBase64;
  const header = parseObject(octets);
  if (!header) return refusals.headerJson;
  const alg = own(header, 'alg');
  if (typeof alg !== 'string') return refusals.algMissing;
  if (!knownAlgorithms.has(alg)) return refusals.algUnsupported;
  const kid = Object.hasOwn(header, 'kid') ? header['kid'] : '';
  if (typeof kid !== 'string') return refusals.kidType;
  if (refusedMembers.some((name) => Object.hasOwn(header, name))) return refusals.headerMember;
  return { alg, kid };
}

/** A JSON object in UTF-8, null for `null`, undefined for anything else. */
export function parseObject(octets: Uint8Array): Readonly<Record<string, unknown>> | null | undefined {
  try {
    const value = parseStrictJson(octets);
    return isJsonObject(value) || value === null ? value : undefined;
  } catch {
    return undefined;
  }
}

/** A member of the object itself, undefined when it has none. */
export const own = (object: Readonly<Record<string, unknown>>, name: string): unknown =>
  Object.hasOwn(object, name) ? object[name] : undefined;
