import { derTag, expectDer, malformed, type DerElement } from './der.js';

/** A BOOLEAN; DER knows 00 and FF only. */
export function readBoolean(element: DerElement): boolean {
  const { content } = expectDer(element, derTag.boolean, 'BOOLEAN');
  if (content.length !== 1 || (content[0] !== 0 && content[0] !== 0xff)) throw malformed('a BOOLEAN that is neither');
  return content[0] === 0xff;
}

/** The magnitude of a non-negative INTEGER in minimal form, in lower-case hexadecimal without leading zeros ('00' for zero). */
export function readIntegerHex(element: DerElement | undefined, maxBytes: number): string {
  const { content } = expectDer(element, derTag.integer, 'INTEGER');
  const [first, second] = content;
  if (first === undefined) throw malformed('an empty INTEGER');
  if (first >= 0x80) throw malformed('a negative INTEGER');
  if (first === 0 && second !== undefined && second < 0x80) throw malformed('an INTEGER that is not minimal');
  const magnitude = first === 0 && content.length > 1 ? content.subarray(1) : content;
  if (content.length > maxBytes) throw malformed('an INTEGER that is too long');
  return magnitude.toString('hex');
}

/** An OBJECT IDENTIFIER in dotted form. */
export function readOid(element: DerElement | undefined): string {
  const { content } = expectDer(element, derTag.oid, 'OBJECT IDENTIFIER');
  if (content.length === 0 || content.length > 64 || (content.at(-1) ?? 0x80) >= 0x80)
    throw malformed('a broken OBJECT IDENTIFIER');
  const arcs: bigint[] = [];
  let arc = 0n;
  let fresh = true;
  for (const byte of content) {
    if (fresh && byte === 0x80) throw malformed('an OBJECT IDENTIFIER that is not minimal');
    arc = (arc << 7n) | BigInt(byte & 0x7f);
    fresh = byte < 0x80;
    if (!fresh) continue;
    arcs.push(arc);
    arc = 0n;
  }
  const head = arcs.shift() ?? 0n;
  const root = head < 40n ? 0n : head < 80n ? 1n : 2n;
  return [root, head - root * 40n, ...arcs].join('.');
}

/** The numbers of the bits that are set in a named BIT STRING, 0 being the first (X.690 section 11.2.2: no trailing zero bits). */
export function readNamedBits(element: DerElement): number[] {
  const { content } = expectDer(element, derTag.bitString, 'BIT STRING');
  const unused = content[0];
  const last = content.at(-1) ?? 0;
  if (unused === undefined || unused > 7 || (content.length === 1 && unused !== 0)) throw malformed('a broken BIT STRING');
  if (content.length > 3) throw malformed('a BIT STRING that is too long');
  if (content.length > 1 && (last & ((1 << (unused + 1)) - 1)) !== 1 << unused)
    throw malformed('a named BIT STRING that is not minimal');
  const bits: number[] = [];
  for (let bit = 0; bit < (content.length - 1) * 8; bit++) {
    if (((content[1 + (bit >> 3)] ?? 0) & (0x80 >> (bit & 7))) !== 0) bits.push(bit);
  }
  return bits;
}

/** UTCTime or GeneralizedTime in RFC 5280's one form (section 4.1.2.5: seconds, `Z`, no fraction), in milliseconds since the epoch. */
export function readTime(element: DerElement | undefined): number {
  const utc = element?.tag === derTag.utcTime;
  const { content } = expectDer(element, utc ? derTag.utcTime : derTag.generalizedTime, 'time');
  const text = content.toString('latin1');
  const found = (utc ? /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/ : /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/).exec(text);
  if (found === null) throw malformed('a time in another form');
  const [, y = '', month = '', day = '', hour = '', minute = '', second = ''] = found;
  const year = !utc ? y : Number(y) < 50 ? `20${y}` : `19${y}`;
  const iso = `${year}-${month}-${day}T${hour}:${minute}:${second}.000Z`;
  const time = Date.parse(iso);
  // Date.parse takes 31 February for a day in March; a real time prints as it was read.
  if (Number.isNaN(time) || new Date(time).toISOString() !== iso) throw malformed('a time that does not exist');
  return time;
}
