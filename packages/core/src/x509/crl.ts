import { verify, type KeyObject } from 'node:crypto';
import { EnmeshError, isEnmeshError } from '../errors.js';
import type { TrustBundle } from '../identity/trust-bundle.js';
import { derChildren, derTag, expectDer, malformed, parseDer, type DerElement } from './der.js';
import { readIntegerHex, readOid, readTime } from './der-values.js';
import { readExtensions } from './extensions.js';
import type { Candidate } from './path.js';

/** A certificate revocation list (RFC 5280 section 5) as it says of itself: its signature is checked where it is used. */
export interface RevocationList {
  /** The issuer's name in DER. */
  readonly issuerDer: Buffer;
  /** Serial numbers in lower-case hexadecimal without leading zeros. */
  readonly serials: ReadonlySet<string>;
  /** Milliseconds since the epoch. */
  readonly thisUpdate: number;
  readonly nextUpdate: number | undefined;
}

interface SignedList extends RevocationList {
  readonly signed: Buffer;
  readonly signature: Buffer;
  /** OID. */
  readonly algorithm: string;
}

// What may sign: the algorithms of strength.ts with their hashes; null is the key's own.
const hashes: Readonly<Record<string, string | null>> = {
  '1.2.840.10045.4.3.2': 'sha256',
  '1.2.840.10045.4.3.3': 'sha384',
  '1.2.840.10045.4.3.4': 'sha512',
  '1.2.840.113549.1.1.11': 'sha256',
  '1.2.840.113549.1.1.12': 'sha384',
  '1.2.840.113549.1.1.13': 'sha512',
  '1.3.101.112': null,
};

/**
 * Reads a revocation list in DER strictly. At most 64 KiB with 1024 entries; lists and entries with a critical extension (delta, indirect or
 * partitioned lists) are refused, since they mean something else than they seem to. Throws `ENMESH_X509_CRL_INVALID`.
 */
export function parseCrl(der: Uint8Array): RevocationList {
  const { issuerDer, serials, thisUpdate, nextUpdate } = readList(der);
  return { issuerDer, serials, thisUpdate, nextUpdate };
}

/**
 * Whether a list of the bundle revokes a certificate of this verified path, leaf first, root last. A list counts for the certificates that its
 * signer signed, also after its `nextUpdate`: what was revoked stays so. Lists that cannot be read revoke nothing.
 */
export function isRevoked(path: readonly Candidate[], bundle: TrustBundle): boolean {
  const lists = listsOf(bundle);
  if (lists.length === 0) return false;
  return path.some(({ facts }, index) => {
    const issuer = path[index + 1];
    if (issuer === undefined) return false;
    return lists.some(
      (list) =>
        list.serials.has(facts.serial) &&
        list.issuerDer.equals(issuer.facts.subjectDer) &&
        mayRevoke(issuer) &&
        isSigned(list, issuer.key),
    );
  });
}

function mayRevoke({ facts }: Candidate): boolean {
  return facts.keyUsage?.has('cRLSign') !== false;
}

const listsByBundle = new WeakMap<TrustBundle, readonly SignedList[]>();

function listsOf(bundle: TrustBundle): readonly SignedList[] {
  const known = listsByBundle.get(bundle);
  if (known !== undefined) return known;
  const lists = (bundle.crls ?? []).flatMap((der) => {
    try {
      return [readList(der)];
    } catch {
      return [];
    }
  });
  listsByBundle.set(bundle, lists);
  return lists;
}

function readList(der: Uint8Array): SignedList {
  try {
    const [body, algorithm, signature, more] = derChildren(expectDer(parseDer(der), derTag.sequence, 'revocation list'));
    const bits = expectDer(signature, derTag.bitString, 'signature').content;
    if (more !== undefined || bits[0] !== 0) throw malformed('a broken signature');
    const outer = expectDer(algorithm, derTag.sequence, 'signature algorithm');
    const fields = readBody(expectDer(body, derTag.sequence, 'body'), outer);
    return {
      ...fields,
      signed: body?.bytes ?? Buffer.alloc(0),
      signature: bits.subarray(1),
      algorithm: readOid(derChildren(outer)[0]),
    };
  } catch (error) {
    if (!isEnmeshError(error)) throw error;
    throw new EnmeshError(
      'ENMESH_X509_CRL_INVALID',
      `Not a revocation list: ${error.message.replace(/^Not a certificate in DER: /, '')}`,
    );
  }
}

function readBody(body: DerElement, outer: DerElement): RevocationList {
  const parts = derChildren(body);
  const version = parts[0]?.tag === derTag.integer ? parts.shift() : undefined;
  if (version !== undefined && readIntegerHex(version, 1) !== '01') throw malformed('an unknown version');
  const algorithm = parts.shift();
  // The inner copy is the one that is signed.
  if (algorithm === undefined || !algorithm.bytes.equals(outer.bytes)) throw malformed('two signature algorithms');
  const issuer = expectDer(parts.shift(), derTag.sequence, 'issuer');
  const thisUpdate = readTime(parts.shift());
  const nextUpdate = isTime(parts[0]) ? readTime(parts.shift()) : undefined;
  const entries = parts[0]?.tag === derTag.sequence ? parts.shift() : undefined;
  const extensions = parts[0]?.tag === 0xa0 ? parts.shift() : undefined;
  if (parts.length > 0) throw malformed('unknown fields');
  if (extensions !== undefined) refuseCritical(derChildren(extensions)[0]);
  return { issuerDer: issuer.bytes, serials: new Set(entries && derChildren(entries).map(readEntry)), thisUpdate, nextUpdate };
}

function isTime(element: DerElement | undefined): boolean {
  return element?.tag === derTag.utcTime || element?.tag === derTag.generalizedTime;
}

function readEntry(entry: DerElement): string {
  const [serial, date, extensions, more] = derChildren(expectDer(entry, derTag.sequence, 'entry'));
  if (more !== undefined) throw malformed('unknown fields of an entry');
  readTime(date);
  if (extensions !== undefined) refuseCritical(extensions);
  return readIntegerHex(serial, 21);
}

function refuseCritical(list: DerElement | undefined): void {
  if (list === undefined) throw malformed('an empty list of extensions');
  for (const { critical } of readExtensions(list).values()) {
    if (critical) throw malformed('a critical extension that is not understood');
  }
}

const verified = new WeakMap<SignedList, WeakMap<KeyObject, boolean>>();

/** Looked at once per list and signer: the same bundle is asked at every handshake. */
function isSigned(list: SignedList, key: KeyObject): boolean {
  let byKey = verified.get(list);
  if (byKey === undefined) verified.set(list, (byKey = new WeakMap()));
  let answer = byKey.get(key);
  if (answer === undefined) byKey.set(key, (answer = checkSignature(list, key)));
  return answer;
}

function checkSignature({ algorithm, signed, signature }: SignedList, key: KeyObject): boolean {
  const hash = hashes[algorithm];
  if (hash === undefined) return false;
  try {
    return verify(hash, signed, key, signature);
  } catch {
    return false;
  }
}
