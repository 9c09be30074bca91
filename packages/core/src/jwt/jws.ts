import { createScratch, decodeAnyBase64url, decodeBase64urlBriefly, type Scratch } from './base64url.js';
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
  /** Its three parts between dots. */
  readonly text: string;
  /** How many characters of it are signed; behind them stand a dot and the signature. */
  readonly signedLength: number;
  /** The payload as it stands in the token. */
  readonly payloadSegment: string;
  readonly claims: Claims;
  /** Why the token is refused although Envoy would read it: told only of one that is otherwise good, as all that Envoy finds comes first. */
  readonly objection: JwtRefusal | undefined;
}

// HS* parse because Istio's answer to them is that of a failed verification; no key here ever fits one.
const knownAlgorithms = new Set(
  ['RS', 'PS', 'ES', 'HS'].flatMap((family) => [256, 384, 512].map((size) => `${family}${size}`)).concat('EdDSA'),
);
const refusedMembers = ['crit', 'b64', 'jku', 'x5u', 'jwk', 'zip', 'enc'];

type Header = Pick<Jws, 'alg' | 'kid' | 'objection'>;

/** More than any token has; Envoy passes over empty parts, however many. */
const maxParts = 64;

/**
 * Reads a compact JWS strictly, in the order and with the answers of Envoy's parser (istio-semantics 2.5 step 1 and 2.6), and refuses what
 * that parser lets pass: lax JSON, more than 16 KiB. Other spellings of base64url, dots around the parts, and `crit` and its kin are objections.
 * `readPayload` takes the decoded payload, which counts only during that call; its own refusal, told by a member `ok`, comes before those of the
 * signature part.
 */
export function parseJws<Claims extends object>(
  text: string,
  readPayload: (octets: Uint8Array) => Claims | JwtRefusal,
): Jws<Claims> | JwtRefusal {
  if (text.length > maxTokenLength) return refusals.tooLong;
  const first = text.indexOf('.');
  const second = text.indexOf('.', first + 1);
  const isDense = first > 0 && second > first + 1 && second + 1 < text.length && text.indexOf('.', second + 1) === -1;
  if (isDense) return parseParts({ text, first, second, objection: undefined }, readPayload);
  const present = text.split('.', maxParts).filter((part) => part !== '');
  const [head = '', payload = ''] = present;
  if (present.length !== 3) return refusals.form;
  const ends = { first: head.length, second: head.length + 1 + payload.length };
  return parseParts({ text: present.join('.'), ...ends, objection: refusals.form }, readPayload);
}

/** Three parts, none of them empty, and where the dots between them are. */
interface Parts {
  readonly text: string;
  readonly first: number;
  readonly second: number;
  readonly objection: JwtRefusal | undefined;
}

function parseParts<Claims extends object>(
  { text, first, second, objection }: Parts,
  readPayload: (octets: Uint8Array) => Claims | JwtRefusal,
): Jws<Claims> | JwtRefusal {
  const header = headerOf(text.slice(0, first));
  if ('ok' in header) return header;
  const payloadSegment = text.slice(first + 1, second);
  const payload = readSegment(payloadSegment, refusals.payloadBase64, partScratch);
  if ('ok' in payload) return payload;
  const claims = readPayload(payload.octets);
  if ('ok' in claims) return claims as JwtRefusal;
  lastText = '';
  const signature = readSegment(text.slice(second + 1), refusals.signatureBase64, signatureScratch);
  if ('ok' in signature) return signature;
  lastText = text;
  lastSignature = signature.octets;
  return {
    ok: true,
    alg: header.alg,
    kid: header.kid,
    text,
    signedLength: second,
    payloadSegment,
    claims,
    objection: objection ?? header.objection ?? payload.objection ?? signature.objection,
  };
}

const partScratch = createScratch();
const signatureScratch = createScratch();
// What stands in the latter: nearly every token is verified as soon as it is read.
let lastText = '';
let lastSignature: Uint8Array = new Uint8Array();

/** The octets of the signature; they count only until the next token is read. */
export function signatureOf({ text, signedLength }: Pick<Jws, 'text' | 'signedLength'>): Uint8Array {
  if (text === lastText) return lastSignature;
  const segment = text.slice(signedLength + 1);
  return decodeBase64urlBriefly(segment, partScratch) ?? decodeAnyBase64url(segment) ?? new Uint8Array();
}

interface Segment {
  readonly octets: Uint8Array;
  readonly objection: JwtRefusal | undefined;
}

/** A part as Envoy decodes it; what is not written in the one strict way is read on, so that Envoy's answer is found, and objected to with `refusal`. */
function readSegment(text: string, refusal: JwtRefusal, scratch: Scratch): Segment | JwtRefusal {
  const strict = decodeBase64urlBriefly(text, scratch);
  if (strict !== undefined) return { octets: strict, objection: undefined };
  const octets = decodeAnyBase64url(text);
  return octets === undefined ? refusal : { octets, objection: refusal };
}

// Issuers send one header with all tokens of a key, and reading it is a third of reading a token.
const maxHeaders = 64;
const maxHeaderLength = 1024;
const headers = new Map<string, Header>();
let lastSegment = '';
let lastHeader: Header = { alg: '', kid: '', objection: undefined };

function headerOf(segment: string): Header | JwtRefusal {
  if (segment === lastSegment) return lastHeader;
  const known = headers.get(segment);
  if (known !== undefined) return known;
  const header = readHeader(segment);
  if ('ok' in header || segment.length > maxHeaderLength) return header;
  if (headers.size >= maxHeaders) headers.clear();
  // A copy: a part of a token would keep all of it in memory.
  lastSegment = Buffer.from(segment, 'latin1').toString('latin1');
  lastHeader = header;
  headers.set(lastSegment, header);
  return header;
}

function readHeader(segment: string): Header | JwtRefusal {
  const read = readSegment(segment, refusals.headerBase64, partScratch);
  if ('ok' in read) return read;
  const header = parseObject(read.octets);
  if (!header) return refusals.headerJson;
  const alg = own(header, 'alg');
  if (typeof alg !== 'string') return refusals.algMissing;
  if (!knownAlgorithms.has(alg)) return refusals.algUnsupported;
  const kid = Object.hasOwn(header, 'kid') ? header['kid'] : '';
  if (typeof kid !== 'string') return refusals.kidType;
  const isRefused = refusedMembers.some((name) => Object.hasOwn(header, name));
  return { alg, kid, objection: read.objection ?? (isRefused ? refusals.headerMember : undefined) };
}

/** A JSON object in UTF-8, all that is in it frozen; null for `null`, undefined for anything else. */
export function parseObject(octets: Uint8Array): Readonly<Record<string, unknown>> | null | undefined {
  try {
    const value = parseStrictJson(octets, { frozen: true });
    return isJsonObject(value) || value === null ? value : undefined;
  } catch {
    return undefined;
  }
}

/** A member of the object itself, undefined when it has none. */
export const own = (object: Readonly<Record<string, unknown>>, name: string): unknown =>
  Object.hasOwn(object, name) ? object[name] : undefined;
