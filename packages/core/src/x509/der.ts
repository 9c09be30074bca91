import { EnmeshError } from '../errors.js';

/** One DER element over the bytes it was read from: nothing is copied. */
export interface DerElement {
  /** The identifier octet: class, constructed bit and number. */
  readonly tag: number;
  /** The whole element. */
  readonly bytes: Buffer;
  readonly content: Buffer;
  readonly depth: number;
}

/** Identifier octets of the types an X.509 certificate is made of (X.690 section 8). */
export const derTag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

const maxBytes = 1 << 16;
const maxDepth = 16;
const maxChildren = 1024;

/**
 * Reads one element that fills `bytes` to the last (X.690 DER: definite, minimal lengths). Throws `ENMESH_X509_MALFORMED`,
 * also for more than 64 KiB.
 */
export function parseDer(bytes: Uint8Array): DerElement {
  if (bytes.length > maxBytes) throw malformed('more than 64 KiB');
  const element = elementAt(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), 0, 0);
  if (element.bytes.length !== bytes.length) throw malformed('bytes after its end');
  return element;
}

/** Takes elements apart that stand one after the other (at most `maxElements`), as the SPIFFE Workload API sends certificates. Throws `ENMESH_X509_MALFORMED`. */
export function splitDer(bytes: Uint8Array, maxElements: number): Buffer[] {
  const elements: Buffer[] = [];
  const all = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let offset = 0; offset < all.length;) {
    if (elements.length === maxElements) throw malformed(`more than ${maxElements} of them`);
    const element = elementAt(all, offset, 0).bytes;
    elements.push(element);
    offset += element.length;
  }
  return elements;
}

/** The elements inside a constructed one, filling it to the last byte; at most 1024, at most 16 levels deep. */
export function derChildren(element: DerElement): DerElement[] {
  if ((element.tag & 0x20) === 0) throw malformed('a primitive element where a constructed one belongs');
  if (element.depth >= maxDepth) throw malformed('nested too deeply');
  const children: DerElement[] = [];
  for (let offset = 0; offset < element.content.length;) {
    if (children.length === maxChildren) throw malformed('too many elements');
    const child = elementAt(element.content, offset, element.depth + 1);
    children.push(child);
    offset += child.bytes.length;
  }
  return children;
}

/** The element itself when it is there and has this tag; throws `ENMESH_X509_MALFORMED` naming `what` otherwise. */
export function expectDer(element: DerElement | undefined, tag: number, what: string): DerElement {
  if (element?.tag !== tag) throw malformed(`no ${what} where one belongs`);
  return element;
}

function elementAt(bytes: Buffer, offset: number, depth: number): DerElement {
  const tag = bytes[offset];
  const first = bytes[offset + 1];
  if (tag === undefined || first === undefined) throw malformed('cut off');
  if ((tag & 0x1f) === 0x1f || tag === 0) throw malformed('a tag no certificate has');
  const { length, size } = first < 0x80 ? { length: first, size: 1 } : longLength(bytes, offset + 1);
  const start = offset + 1 + size;
  const end = start + length;
  if (end > bytes.length) throw malformed('cut off');
  return { tag, bytes: bytes.subarray(offset, end), content: bytes.subarray(start, end), depth };
}

function longLength(bytes: Buffer, offset: number): { length: number; size: number } {
  const count = (bytes[offset] ?? 0) & 0x7f;
  if (count === 0) throw malformed('an indefinite length');
  if (count > 3 || offset + count >= bytes.length) throw malformed('a length beyond its end');
  const length = bytes.readUIntBE(offset + 1, count);
  const minimal = count === 1 ? length >= 0x80 : length >= 1 << (8 * (count - 1));
  if (!minimal) throw malformed('a length that is not minimal');
  return { length, size: 1 + count };
}

/** The error of everything in x509/ that cannot be read. The reason never quotes the bytes. */
export function malformed(reason: string): EnmeshError {
  return new EnmeshError('ENMESH_X509_MALFORMED', `Not a certificate in DER: ${reason}`);
}
