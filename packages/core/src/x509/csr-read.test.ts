import { createPublicKey, generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { parseCsr } from './csr-read.js';
import { createDerWriter, type DerNode } from './der-writer.js';
import { formatPem, parsePem } from './pem.js';

const der = await createDerWriter();
const p256 = generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey;
const uri = 'spiffe://cluster.local/ns/shop/sa/gateway';
const ecdsa = { oid: '1.2.840.10045.4.3.2', hash: 'sha256' };
const rsa = { oid: '1.2.840.113549.1.1.11', hash: 'sha256' };
const nullValue = der.raw(Buffer.of(5, 0));
const invalid = (reason: RegExp): unknown =>
  expect.objectContaining({ code: 'ENMESH_X509_CSR_INVALID', message: expect.stringMatching(reason) as string });

const spkiOf = (key: KeyObject): Buffer => createPublicKey(key).export({ type: 'spki', format: 'der' });
const uriName = (name: string): DerNode => der.implicit(6, Buffer.from(name));
const extensions = (...names: DerNode[]): DerNode =>
  der.sequence(der.sequence(der.oid('2.5.29.17'), der.octetString(der.encode(der.sequence(...names)))));
const attribute = (...values: DerNode[]): DerNode => der.sequence(der.oid('1.2.840.113549.1.9.14'), der.set(...values));

interface Crafted {
  readonly key?: KeyObject;
  readonly signer?: KeyObject;
  readonly version?: number;
  readonly spki?: DerNode;
  readonly attributes?: readonly DerNode[] | null;
  readonly algorithm?: { readonly oid: string; readonly hash: string | null };
  readonly parameters?: readonly DerNode[];
  readonly innerMore?: readonly DerNode[];
  readonly unusedBits?: number;
}

function craft(o: Crafted = {}): Buffer {
  const key = o.key ?? p256;
  const algorithm = o.algorithm ?? (key.asymmetricKeyType === 'rsa' ? rsa : ecdsa);
  const parameters = o.parameters ?? (key.asymmetricKeyType === 'rsa' ? [nullValue] : []);
  const attributes = o.attributes === undefined ? [attribute(extensions(uriName(uri)))] : o.attributes;
  const body = der.sequence(
    der.integer(Buffer.of(o.version ?? 0)),
    der.sequence(),
    o.spki ?? der.raw(spkiOf(key)),
    ...(attributes === null ? [] : [der.explicit(0, ...attributes)]),
    ...(o.innerMore ?? []),
  );
  const signature = sign(algorithm.hash, der.encode(body), o.signer ?? key);
  return der.encode(
    der.sequence(body, der.sequence(der.oid(algorithm.oid), ...parameters), der.bitString(signature, o.unusedBits ?? 0)),
  );
}
const pemOf = (o?: Crafted): string => formatPem('CERTIFICATE REQUEST', craft(o));

describe('parseCsr', () => {
  it.each([
    ['ECDSA P-256', { key: p256 }],
    ['ECDSA P-384 with SHA-384', { key: newKey('secp384r1'), algorithm: { oid: '1.2.840.10045.4.3.3', hash: 'sha384' } }],
    ['ECDSA P-521 with SHA-512', { key: newKey('secp521r1'), algorithm: { oid: '1.2.840.10045.4.3.4', hash: 'sha512' } }],
    ['RSA', { key: newRsa(2048) }],
    ['RSA without parameters', { key: newRsa(2048), parameters: [] }],
    ['Ed25519', { key: generateKeyPairSync('ed25519').privateKey, algorithm: { oid: '1.3.101.112', hash: null } }],
  ] as [string, Crafted & { key: KeyObject }][])('reads the key and the names of a request: %s', (_, o) => {
    const read = parseCsr(pemOf(o));
    expect(read.publicKey.equals(createPublicKey(o.key))).toBe(true);
    expect(read).toMatchObject({ uriSans: [uri], dnsSans: [] });
  });

  it('reads requests without attributes, written as none or left out, and with attributes of other kinds', () => {
    expect(parseCsr(pemOf({ attributes: [] })).uriSans).toEqual([]);
    expect(parseCsr(pemOf({ attributes: null })).uriSans).toEqual([]);
    const password = der.sequence(der.oid('1.2.840.113549.1.9.7'), der.set(der.utf8String('x')));
    expect(parseCsr(pemOf({ attributes: [password, attribute(extensions(uriName(uri)))] })).uriSans).toEqual([uri]);
    expect(parseCsr(formatPem('NEW CERTIFICATE REQUEST', craft())).uriSans).toEqual([uri]);
  });

  it('gives all names that are asked for, so that whoever signs can compare them', () => {
    const names = [
      uriName(uri),
      uriName(`${uri}2`),
      der.implicit(2, Buffer.from('shop')),
      der.implicit(7, Buffer.of(127, 0, 0, 1)),
    ];
    const read = parseCsr(pemOf({ attributes: [attribute(extensions(...names))] }));
    expect(read).toMatchObject({ uriSans: [uri, `${uri}2`], dnsSans: ['shop'] });
    expect([...read.otherSans]).toEqual(['ipAddress']);
  });

  it.each([
    ['a signature of another key', { signer: newKey('prime256v1') }, /does not prove/],
    ['RSA of 1024 bits', { key: newRsa(1024) }, /too weak/],
    ['a curve that is not ours', { key: newKey('secp256k1') }, /too weak/],
    ['an X25519 key', { spki: der.raw(spkiOf(generateKeyPairSync('x25519').privateKey)) }, /too weak/],
    ['SHA-1', { key: newRsa(2048), algorithm: { oid: '1.2.840.113549.1.1.5', hash: 'sha1' } }, /algorithm is not accepted/],
    ['an algorithm for another key', { algorithm: rsa, parameters: [nullValue] }, /does not belong to its key/],
    ['ECDSA with parameters', { parameters: [nullValue] }, /parameters/],
    ['RSA with other parameters', { key: newRsa(2048), parameters: [der.sequence()] }, /parameters/],
    ['another version', { version: 1 }, /version/],
    ['more fields', { innerMore: [der.sequence()] }, /unknown fields/],
    ['unused bits in its signature', { unusedBits: 1 }, /whole bytes/],
    [
      'two extension requests',
      { attributes: [attribute(extensions(uriName(uri))), attribute(extensions(uriName(uri)))] },
      /repeated/,
    ],
    [
      'an extension request with two values',
      { attributes: [attribute(extensions(uriName(uri)), extensions(uriName(uri)))] },
      /one value/,
    ],
    ['an extension request with no value', { attributes: [attribute()] }, /one value/],
    ['a NUL in a name', { attributes: [attribute(extensions(uriName('spiffe://a\0b')))] }, /ASCII/],
    [
      '17 attributes',
      { attributes: Array.from({ length: 17 }, (_, at) => der.sequence(der.oid(`1.2.${at + 3}`), der.set())) },
      /too many/,
    ],
    ['a curve spelled out in numbers', { spki: explicitCurve() }, /name of a curve/],
  ] as [string, Crafted, RegExp][])('refuses %s', (_, o, reason) => {
    expect(() => parseCsr(pemOf(o))).toThrow(invalid(reason));
  });

  it('refuses a request of which one byte was changed, wherever', () => {
    const good = craft();
    for (let at = 0; at < good.length; at++) {
      const bad = Buffer.from(good);
      bad[at] = (bad[at] ?? 0) ^ 0x01;
      expect(() => parseCsr(formatPem('CERTIFICATE REQUEST', bad)), `byte ${at}`).toThrow(invalid(/./));
    }
  });

  it.each([
    ['nothing', ''],
    ['no PEM', 'hello'],
    ['a certificate', formatPem('CERTIFICATE', craft())],
    ['two requests', pemOf() + pemOf()],
    ['bytes after its end', formatPem('CERTIFICATE REQUEST', Buffer.concat([craft(), Buffer.of(0)]))],
    ['a request cut off', formatPem('CERTIFICATE REQUEST', craft().subarray(0, -1))],
    ['a block without an end', pemOf().slice(0, -12)],
    ['more than 16 KiB', pemOf() + ' '.repeat(16_384)],
  ])('refuses %s', (_, text) => {
    expect(() => parseCsr(text)).toThrow(invalid(/./));
  });

  it('never quotes the request', () => {
    const pem = pemOf({ signer: newKey('prime256v1') });
    expect(() => parseCsr(pem)).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining(pem.split('\n')[1] ?? '') as string }),
    );
    expect(parsePem(pem, 'CERTIFICATE REQUEST')).toHaveLength(1);
  });
});

function newKey(namedCurve: string): KeyObject {
  return generateKeyPairSync('ec', { namedCurve }).privateKey;
}

function newRsa(modulusLength: number): KeyObject {
  return generateKeyPairSync('rsa', { modulusLength }).privateKey;
}

function explicitCurve(): DerNode {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1', paramEncoding: 'explicit' });
  return der.raw(publicKey.export({ type: 'spki', format: 'der' }));
}
