/// <reference path="./forge-asn1.d.ts" />
import type { asn1 } from 'node-forge';

/** A piece of DER being built. */
export type DerNode = asn1.Asn1;

/** Builds DER; nothing is ever parsed with it except DER that node:crypto has just written. */
export interface DerWriter {
  sequence(...children: DerNode[]): DerNode;
  set(...children: DerNode[]): DerNode;
  oid(dotted: string): DerNode;
  boolean(value: boolean): DerNode;
  /** Two's complement bytes, minimal. */
  integer(bytes: Uint8Array): DerNode;
  octetString(bytes: Uint8Array): DerNode;
  bitString(bytes: Uint8Array, unusedBits?: number): DerNode;
  utf8String(text: string): DerNode;
  /** UTCTime before 2050, GeneralizedTime from then on (RFC 5280 section 4.1.2.5); milliseconds since the epoch. */
  time(ms: number): DerNode;
  /** A context-specific element around others. */
  explicit(number: number, ...children: DerNode[]): DerNode;
  /** A primitive context-specific element. */
  implicit(number: number, bytes: Uint8Array): DerNode;
  /** DER that exists already (a name or key in it), put in as it is. */
  raw(der: Uint8Array): DerNode;
  encode(node: DerNode): Buffer;
}

/** Loads node-forge, the first time only, and returns a writer over its ASN.1 builder: nothing else of forge is used (security rule 11). */
export async function createDerWriter(): Promise<DerWriter> {
  const { default: forge } = await import('node-forge/lib/asn1.js');
  const { Class, Type } = forge;
  const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');
  const primitive = (type: asn1.Type, value: string): DerNode => forge.create(Class.UNIVERSAL, type, false, value);
  const constructed = (type: asn1.Type, children: DerNode[]): DerNode => forge.create(Class.UNIVERSAL, type, true, children);
  return {
    sequence: (...children) => constructed(Type.SEQUENCE, children),
    set: (...children) => constructed(Type.SET, children),
    oid: (dotted) => primitive(Type.OID, forge.oidToDer(dotted).getBytes()),
    boolean: (value) => primitive(Type.BOOLEAN, value ? '\xff' : '\x00'),
    integer: (bytes) => primitive(Type.INTEGER, text(bytes)),
    octetString: (bytes) => primitive(Type.OCTETSTRING, text(bytes)),
    bitString: (bytes, unusedBits = 0) => primitive(Type.BITSTRING, String.fromCharCode(unusedBits) + text(bytes)),
    utf8String: (value) => primitive(Type.UTF8, text(Buffer.from(value, 'utf8'))),
    time: (ms) => (ms < utcEnd ? primitive(Type.UTCTIME, timeText(ms).slice(2)) : primitive(Type.GENERALIZEDTIME, timeText(ms))),
    explicit: (number, ...children) => forge.create(Class.CONTEXT_SPECIFIC, number, true, children),
    implicit: (number, bytes) => forge.create(Class.CONTEXT_SPECIFIC, number, false, text(bytes)),
    raw: (der) => forge.fromDer(text(der)),
    encode: (node) => Buffer.from(forge.toDer(node).getBytes(), 'latin1'),
  };
}

const utcEnd = Date.UTC(2050, 0, 1);

function timeText(ms: number): string {
  return new Date(ms)
    .toISOString()
    .replace(/\.\d+Z$/, 'Z')
    .replace(/[-:T]/g, '');
}
