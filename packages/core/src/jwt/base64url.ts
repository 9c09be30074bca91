const alphabet = /^[A-Za-z0-9_-]+$/;
// What the last character may be when the final group has 2 or 3 characters: the bits that no octet uses are zero.
const lastOfTwo = 'AQgw';
const lastOfThree = 'AEIMQUYcgkosw048';

/**
 * Whether `text` is the one base64url spelling of some octets (RFC 4648 sections 5 and 3.5): no padding, no white space,
 * no other alphabet, no stray bits at the end, not empty. Anything laxer would give one token many names.
 */
export function isCanonicalBase64url(text: string): boolean {
  return alphabet.test(text) && endsCanonically(text);
}

function endsCanonically(text: string): boolean {
  const rest = text.length % 4;
  if (rest === 0) return true;
  const last = text.charAt(text.length - 1);
  return rest === 2 ? lastOfTwo.includes(last) : rest === 3 && lastOfThree.includes(last);
}

/** The octets of canonical base64url, or undefined when `text` is not canonical. */
export function decodeBase64url(text: string): Buffer | undefined {
  return isCanonicalBase64url(text) ? Buffer.from(text, 'base64url') : undefined;
}

/**
 * A place to write octets to that are read before anything else is written there, big enough for the longest token: nothing is allocated for them, and
 * no pool is kept alive by them.
 */
export interface Scratch {
  readonly room: Buffer;
  /** Its beginnings, by length. */
  readonly views: (Buffer | undefined)[];
}

/** Makes such a place. */
export function createScratch(): Scratch {
  return { room: Buffer.allocUnsafeSlow(16 * 1024), views: Array.from<Buffer | undefined>({ length: 64 }) };
}

/** The first octets of it. A new view costs as much as what is read through it, and tokens of one issuer have few lengths. */
export function writtenOctets({ room, views }: Scratch, octets: number): Buffer {
  const known = views[octets % views.length];
  if (known?.length === octets) return known;
  return (views[octets % views.length] = room.subarray(0, octets));
}

const wide = /[^\u0000-\u00ff]/;

/** Like {@link decodeBase64url}; the octets count only until something else is written to `scratch`. */
export function decodeBase64urlBriefly(text: string, scratch: Scratch): Buffer | undefined {
  const { length } = text;
  const { room } = scratch;
  if (length > room.length) return decodeBase64url(text);
  // Node's decoder passes over what is in no alphabet, so that fewer octets come of it; but it reads both alphabets, and of a wide character the lower half.
  if (length === 0 || length % 4 === 1 || wide.test(text) || text.indexOf('+') !== -1 || text.indexOf('/') !== -1)
    return undefined;
  const octets = room.write(text, 0, 'base64url');
  return octets === (length * 3) >> 2 && endsCanonically(text) ? writtenOctets(scratch, octets) : undefined;
}

/**
 * The octets of base64url in every spelling that Envoy takes: white space anywhere, padding that fits, trailing bits of any value. Undefined for
 * what even Envoy refuses. Only for telling which answer Envoy would give: two spellings of one token defeat caches and logs.
 */
export function decodeAnyBase64url(text: string): Uint8Array | undefined {
  const dense = text.replace(/[ \t\r\n\f\v]/g, '');
  const bare = dense.length % 4 === 0 ? dense.replace(/={1,2}$/, '') : dense;
  if (bare === '' || bare.length % 4 === 1 || !/^[A-Za-z0-9_-]+$/.test(bare)) return undefined;
  return Buffer.from(bare, 'base64url');
}
