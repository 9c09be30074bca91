import { createPublicKey, generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { readCertificateFacts } from './certificate-facts.js';
import { createDerWriter, type DerNode } from './der-writer.js';
import { formatPem } from './pem.js';
import { parseX509Svid, verifySvidChain, verifySvidLeaf } from './svid-verify.js';

// Certificates that issueCertificate refuses to write, or has no options for.
const der = await createDerWriter();
const uri = 'spiffe://td.example/ns/shop/sa/gateway';
const now = Date.UTC(2026, 5, 1);
const ecdsaSha256 = '1.2.840.10045.4.3.2';
const curve = (namedCurve: string) => generateKeyPairSync('ec', { namedCurve }).privateKey;

const extension = (oid: string, critical: boolean, value: DerNode): DerNode =>
  der.sequence(der.oid(oid), ...(critical ? [der.boolean(true)] : []), der.octetString(der.encode(value)));
const name = (text: string): DerNode =>
  text === '' ? der.sequence() : der.sequence(der.set(der.sequence(der.oid('2.5.4.3'), der.utf8String(text))));
const uriName = (text: string): DerNode => der.implicit(6, Buffer.from(text));
const san = (...names: DerNode[]): DerNode => extension('2.5.29.17', true, der.sequence(...names));
const usage = (byte: number, unused: number): DerNode => extension('2.5.29.15', true, der.bitString(Buffer.of(byte), unused));
const signing = usage(0x80, 7);
const certifying = usage(0x04, 2);
const authority = extension('2.5.29.19', true, der.sequence(der.boolean(true)));
const purposes = (...oids: string[]): DerNode => extension('2.5.29.37', false, der.sequence(...oids.map(der.oid)));
const constraints = (...bases: DerNode[]): DerNode =>
  extension('2.5.29.30', true, der.sequence(der.explicit(0, ...bases.map((base) => der.sequence(base)))));
const unknown = (critical: boolean): DerNode => extension('1.2.3.4', critical, der.sequence());

interface Crafted {
  readonly der: Buffer;
  readonly key: KeyObject;
  readonly subject: string;
}
interface Craft {
  readonly extensions: readonly DerNode[];
  readonly subject?: string;
  readonly key?: KeyObject;
  readonly issuer?: Crafted;
  readonly digest?: string;
  readonly algorithm?: string;
  readonly outerAlgorithm?: string;
}

function craft(options: Craft): Crafted {
  const { subject = '', key = curve('prime256v1'), algorithm = ecdsaSha256, digest = 'sha256' } = options;
  const body = der.sequence(
    der.explicit(0, der.integer(Buffer.of(2))),
    der.integer(Buffer.of(7)),
    der.sequence(der.oid(algorithm)),
    name(options.issuer?.subject ?? subject),
    der.sequence(der.time(now - 86_400_000), der.time(now + 86_400_000)),
    name(subject),
    der.raw(createPublicKey(key).export({ type: 'spki', format: 'der' })),
    der.explicit(3, der.sequence(...options.extensions)),
  );
  const signature = sign(digest, der.encode(body), options.issuer?.key ?? key);
  const outer = der.sequence(der.oid(options.outerAlgorithm ?? algorithm));
  return { der: der.encode(der.sequence(body, outer, der.bitString(signature))), key, subject };
}

const ca = (subject: string, more: Partial<Craft> = {}): Crafted =>
  craft({ subject, ...more, extensions: [authority, certifying, ...(more.extensions ?? [])] });
const leafBelow = (issuer: Crafted, more: Partial<Craft> = {}): Crafted =>
  craft({ issuer, extensions: [signing, san(uriName(uri))], ...more });
const verify = (leaf: Crafted, root: Crafted, intermediates: Crafted[] = []) => {
  const bundles = new Map([['td.example', { trustDomain: 'td.example', roots: [formatPem('CERTIFICATE', root.der)] }]]);
  return verifySvidChain({ leaf: leaf.der, intermediates: intermediates.map((one) => one.der), bundles, now });
};
const refused = (code: string, message: RegExp) => expect.objectContaining({ code, message: expect.stringMatching(message) });

describe('a crafted leaf', () => {
  const good = [signing, san(uriName(uri))];
  const otherName = der.explicit(0, der.oid('1.2.3.4'), der.explicit(0, der.utf8String(uri)));

  it.each<[string, Craft, string, RegExp]>([
    [
      'an otherName beside the ID',
      { extensions: [signing, san(uriName(uri), otherName)] },
      'ENMESH_X509_SVID_INVALID',
      /otherName/,
    ],
    ['the ID in an otherName', { extensions: [signing, san(otherName)] }, 'ENMESH_X509_SVID_INVALID', /no URI SAN/],
    ['an unknown critical extension', { extensions: [...good, unknown(true)] }, 'ENMESH_X509_SVID_INVALID', /not understood/],
    [
      'name constraints',
      { extensions: [...good, constraints(uriName('td.example'))] },
      'ENMESH_X509_SVID_INVALID',
      /name constraints/,
    ],
    ['two SAN extensions', { extensions: [...good, san(uriName(uri))] }, 'ENMESH_X509_MALFORMED', /repeated extension/],
    ['an empty SAN', { extensions: [signing, san()] }, 'ENMESH_X509_MALFORMED', /empty subject alternative name/],
    ['no extensions in their list', { extensions: [] }, 'ENMESH_X509_MALFORMED', /empty list of extensions/],
    [
      'two signature algorithms',
      { extensions: good, outerAlgorithm: '1.2.840.10045.4.3.3' },
      'ENMESH_X509_MALFORMED',
      /two signature algorithms/,
    ],
  ])('gives no identity with %s', (_, options, code, message) => {
    expect(() => verifySvidLeaf(craft(options).der)).toThrow(refused(code, message));
  });

  it('gives no identity with a curve spelled out in numbers', () => {
    const explicit = generateKeyPairSync('ec', { namedCurve: 'prime256v1', paramEncoding: 'explicit' }).privateKey;
    expect(() => verifySvidLeaf(craft({ extensions: good, key: explicit }).der)).toThrow(
      refused('ENMESH_X509_MALFORMED', /name of a curve/),
    );
  });

  it('is an SVID with what RFC 5280 lets stand beside', () => {
    const address = der.implicit(7, Buffer.of(127, 0, 0, 1));
    const { facts, id } = verifySvidLeaf(
      craft({ extensions: [signing, san(uriName(uri), address), unknown(false)], subject: 'gateway' }).der,
    );
    expect([id.uri, facts.subject, facts.otherSans]).toEqual([uri, 'CN=gateway', new Set(['ipAddress'])]);
  });
});

describe('a crafted signer', () => {
  const root = ca('root');

  it('signs SVIDs when nothing is wrong with it', () => {
    expect(verify(leafBelow(root), root).uri).toBe(uri);
    const middle = ca('middle', { issuer: root, extensions: [constraints(uriName('td.example')), purposes('2.5.29.37.0')] });
    expect(verify(leafBelow(middle), root, [middle]).uri).toBe(uri);
  });

  it.each<[string, Partial<Craft>]>([
    ['an unknown critical extension', { extensions: [unknown(true)] }],
    ['constraints to another trust domain', { extensions: [constraints(uriName('other.example'))] }],
    ['a purpose that is not both of TLS', { extensions: [purposes('1.3.6.1.5.5.7.3.1')] }],
    ['a purpose that has nothing to do with TLS', { extensions: [purposes('1.3.6.1.5.5.7.3.3')] }],
    ['a curve that is too weak', { key: curve('secp224r1') }],
  ])('signs none with %s, as root or between', (_, change) => {
    const bad = ca('root', change);
    expect(() => verify(leafBelow(bad), bad)).toThrow(refused('ENMESH_X509_UNTRUSTED', /does not sign/));
    const middle = ca('middle', { ...change, issuer: root });
    expect(() => verify(leafBelow(middle), root, [middle])).toThrow(refused('ENMESH_X509_UNTRUSTED', /does not sign/));
  });

  it('signs none with SHA-1', () => {
    const weak = leafBelow(root, { digest: 'sha1', algorithm: '1.2.840.10045.4.1' });
    expect(() => verify(weak, root)).toThrow(refused('ENMESH_X509_UNTRUSTED', /does not sign/));
  });

  it.each<[string, Craft, RegExp]>([
    ['no CA', { extensions: [signing], subject: 'middle' }, /is no CA/],
    ['a CA without keyCertSign', { extensions: [authority, signing], subject: 'middle' }, /no keyCertSign/],
    ['a CA without key usage', { extensions: [authority], subject: 'middle' }, /no keyCertSign/],
  ])('is refused in the chain of an own SVID when it is %s', (_, options, message) => {
    const middle = craft({ ...options, issuer: root });
    const leaf = leafBelow(middle);
    const chain = formatPem('CERTIFICATE', leaf.der) + formatPem('CERTIFICATE', middle.der);
    expect(() => parseX509Svid({ chain, privateKey: leaf.key })).toThrow(refused('ENMESH_X509_SVID_INVALID', message));
  });

  it('is tried 64 times and no more', () => {
    // Ten CAs of one name and key: each is signed by every other, so there are millions of ways that lead nowhere.
    const stranger = ca('maze');
    const maze = Array.from({ length: 10 }, () => ca('maze', { key: stranger.key, issuer: stranger }));
    expect(() => verify(leafBelow(stranger), root, maze)).toThrow(refused('ENMESH_X509_UNTRUSTED', /does not sign/));
  });
});

describe('readCertificateFacts', () => {
  it('reads a certificate of version 1, which can say nothing of use', () => {
    const key = curve('prime256v1');
    const spki = createPublicKey(key).export({ type: 'spki', format: 'der' });
    const algorithm = der.sequence(der.oid(ecdsaSha256));
    const body = der.sequence(
      der.integer(Buffer.of(7)),
      algorithm,
      name('a'),
      der.sequence(der.time(0), der.time(now)),
      name('a'),
      der.raw(spki),
    );
    const facts = readCertificateFacts(
      der.encode(der.sequence(body, algorithm, der.bitString(sign('sha256', der.encode(body), key)))),
    );
    expect(facts).toMatchObject({ isCa: false, uriSans: [], keyUsage: undefined, serial: '07', notBefore: 0 });
  });
});
