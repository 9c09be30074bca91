import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { TrustBundleSet } from '../identity/trust-bundle.js';
import { issueCertificate, rootOptions, svidOptions, type IssueOptions } from './certificate.js';
import { formatPem, parsePem } from './pem.js';
import { parseX509Svid, verifySvidChain, verifySvidLeaf } from './svid-verify.js';

const now = Date.UTC(2026, 5, 1);
const day = 86_400_000;
const times = { notBefore: now - day, notAfter: now + day };
const uri = 'spiffe://td.example/ns/shop/sa/gateway';
const newKey = () => generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey;
const derOf = (pem: string) => parsePem(pem, 'CERTIFICATE')[0] ?? Buffer.alloc(0);
const refused = (code: string, message?: RegExp) =>
  expect.objectContaining({ code, ...(message === undefined ? {} : { message: expect.stringMatching(message) }) });

interface Issued {
  readonly pem: string;
  readonly key: KeyObject;
}

async function root(change: Partial<IssueOptions> = {}): Promise<Issued> {
  const key = newKey();
  return { key, pem: await issueCertificate({ ...rootOptions('td.example', key), ...times, ...change }) };
}

async function below(signer: Issued, change: Partial<IssueOptions> = {}): Promise<Issued> {
  const key = newKey();
  return {
    key,
    pem: await issueCertificate({ ...svidOptions(uri, key), issuer: signer.pem, issuerKey: signer.key, ...times, ...change }),
  };
}

const ca = (name: string): Partial<IssueOptions> => ({
  isCa: true,
  keyUsage: ['keyCertSign'],
  uriSans: ['spiffe://td.example'],
  subject: { commonName: name },
});

const top = await root();
const bundlesOf = (...roots: Issued[]): TrustBundleSet =>
  new Map([['td.example', { trustDomain: 'td.example', roots: roots.map(({ pem }) => pem) }]]);
const verify = (leaf: Issued, intermediates: Issued[] = [], bundles = bundlesOf(top), at = now) =>
  verifySvidChain({ leaf: derOf(leaf.pem), intermediates: intermediates.map(({ pem }) => derOf(pem)), bundles, now: at });

describe('verifySvidLeaf', () => {
  it('returns the ID and the facts of an SVID', async () => {
    const { id, facts } = verifySvidLeaf(derOf((await below(top)).pem));
    expect(id).toEqual({ uri, trustDomain: 'td.example', path: '/ns/shop/sa/gateway' });
    expect(facts.notAfter).toBe(times.notAfter);
  });

  it('lets other names than URIs stand beside the one', async () => {
    expect(verifySvidLeaf(derOf((await below(top, { dnsSans: ['gateway.shop'] })).pem)).facts.dnsSans).toEqual(['gateway.shop']);
  });

  it.each<[string, Partial<IssueOptions>, RegExp]>([
    ['no URI', { uriSans: [], dnsSans: ['a.example'] }, /no URI SAN/],
    ['the same ID twice', { uriSans: [uri, uri] }, /more than one/],
    ['an ID and another URI', { uriSans: [uri, 'https://a.example'] }, /more than one/],
    ['a URI that is no SPIFFE ID', { uriSans: ['https://a.example/x'] }, /scheme/],
    ['an ID in upper case', { uriSans: ['spiffe://TD.example/a'] }, /trust domain/],
    ['a trust domain\u2019s own ID', { uriSans: ['spiffe://td.example'] }, /not a workload/],
    ['a CA', { isCa: true }, /is a CA/],
    ['no key usage', { keyUsage: [] }, /digitalSignature/],
    ['keyCertSign', { keyUsage: ['digitalSignature', 'keyCertSign'] }, /keyCertSign or cRLSign/],
    ['cRLSign', { keyUsage: ['digitalSignature', 'cRLSign'] }, /keyCertSign or cRLSign/],
    ['one purpose only', { extendedKeyUsage: ['1.3.6.1.5.5.7.3.1'] }, /serverAuth and clientAuth/],
    ['any purpose', { extendedKeyUsage: ['2.5.29.37.0'] }, /serverAuth and clientAuth/],
  ])('refuses %s', async (_, change, message) => {
    const { pem } = await below(top, change);
    expect(() => verifySvidLeaf(derOf(pem))).toThrow(refused('ENMESH_X509_SVID_INVALID', message));
  });

  it.each([
    ['RSA of 1024 bits', generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey, false],
    ['RSA of 2048 bits', generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey, true],
    ['RSA with exponent 3', generateKeyPairSync('rsa', { modulusLength: 2048, publicExponent: 3 }).publicKey, false],
    ['P-384', generateKeyPairSync('ec', { namedCurve: 'secp384r1' }).publicKey, true],
    ['P-521', generateKeyPairSync('ec', { namedCurve: 'secp521r1' }).publicKey, true],
    ['P-224', generateKeyPairSync('ec', { namedCurve: 'secp224r1' }).publicKey, false],
    ['secp256k1', generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey, false],
    ['Ed25519', generateKeyPairSync('ed25519').publicKey, true],
    ['Ed448', generateKeyPairSync('ed448').publicKey, false],
  ])('judges a key of %s', async (_, key, good) => {
    const read = verifySvidLeaf.bind(null, derOf((await below(top, svidOptions(uri, key))).pem));
    if (good) expect(read().id.uri).toBe(uri);
    else expect(read).toThrow(refused('ENMESH_X509_SVID_INVALID', /too weak/));
  });

  // Byte surgery on a good certificate: what the writer itself refuses to write.
  const bend = (der: Buffer, from: string, to: string) => {
    const at = der.indexOf(Buffer.from(from, 'latin1'));
    expect(at).toBeGreaterThan(0);
    const bent = Buffer.from(der);
    bent.write(to, at, 'latin1');
    return bent;
  };

  it.each([
    ['a NUL in the URI', 'gateway', 'gate\0ay', 'ENMESH_X509_MALFORMED'],
    ['a byte beyond ASCII in the URI', 'gateway', 'gatew\xe4y', 'ENMESH_X509_MALFORMED'],
    ['a line feed in the URI', 'gateway', 'gatewa\n', 'ENMESH_X509_MALFORMED'],
    ['a percent sign in the URI', '/sa/gateway', '/sa/gate%2e', 'ENMESH_X509_SVID_INVALID'],
    [
      'a URI as otherName',
      `\x86${String.fromCharCode(uri.length)}spiffe`,
      `\xa0${String.fromCharCode(uri.length)}spiffe`,
      'ENMESH_X509_SVID_INVALID',
    ],
    [
      'a URI in constructed form',
      `\x86${String.fromCharCode(uri.length)}spiffe`,
      `\xa6${String.fromCharCode(uri.length)}spiffe`,
      'ENMESH_X509_MALFORMED',
    ],
    [
      'a URI as e-mail',
      `\x86${String.fromCharCode(uri.length)}spiffe`,
      `\x81${String.fromCharCode(uri.length)}spiffe`,
      'ENMESH_X509_SVID_INVALID',
    ],
    ['a critical extension that nobody knows', '\x06\x03\x55\x1d\x25', '\x06\x03\x55\x1d\x63', undefined],
    ['key usage twice', '\x06\x03\x55\x1d\x25', '\x06\x03\x55\x1d\x0f', 'ENMESH_X509_MALFORMED'],
  ])('never finds an identity through %s', async (_, from, to, code) => {
    const bent = bend(derOf((await below(top)).pem), from, to);
    if (code !== undefined) expect(() => verifySvidLeaf(bent)).toThrow(refused(code));
    // An unknown extension that is not critical is passed over.
    else expect(verifySvidLeaf(bent).facts.extendedKeyUsage).toBeUndefined();
  });

  it('refuses a critical extension that is not understood', async () => {
    const bent = bend(derOf((await below(top)).pem), '\x06\x03\x55\x1d\x11\x01\x01\xff', '\x06\x03\x55\x1d\x63\x01\x01\xff');
    expect(() => verifySvidLeaf(bent)).toThrow(refused('ENMESH_X509_SVID_INVALID'));
  });

  it('refuses bytes after the end, every truncation, and PEM', async () => {
    const { pem } = await below(top);
    const der = derOf(pem);
    expect(() => verifySvidLeaf(Buffer.concat([der, Buffer.of(0)]))).toThrow(refused('ENMESH_X509_MALFORMED'));
    for (let length = 0; length < der.length; length++) {
      expect(() => verifySvidLeaf(der.subarray(0, length))).toThrow(refused('ENMESH_X509_MALFORMED'));
    }
    expect(() => verifySvidLeaf(Buffer.from(pem))).toThrow(refused('ENMESH_X509_MALFORMED'));
  });

  it('answers any flipped byte with an error of ours or a certificate whose signature no longer holds', async () => {
    const leaf = await below(top);
    const der = derOf(leaf.pem);
    for (let at = 0; at < der.length; at++) {
      const bent = Buffer.from(der);
      bent[at] = (bent[at] ?? 0) ^ 0x55;
      const read = () => verifySvidChain({ leaf: bent, intermediates: [], bundles: bundlesOf(top), now });
      expect(read, `byte ${at}`).toThrow(refused(expect.stringMatching(/^ENMESH_X509_/) as unknown as string));
    }
  });
});

describe('verifySvidChain', () => {
  it('accepts a leaf that a root of its own trust domain signs, also beside other roots', async () => {
    const leaf = await below(top);
    expect(verify(leaf).uri).toBe(uri);
    expect(verify(leaf, [], bundlesOf(await root(), top)).uri).toBe(uri);
  });

  it('refuses a leaf of a root with the same name and another key', async () => {
    const leaf = await below(await root());
    expect(() => verify(leaf)).toThrow(refused('ENMESH_X509_UNTRUSTED', /does not sign/));
  });

  it('asks the bundle of the leaf\u2019s own trust domain and no other', async () => {
    const other = await below(top, { uriSans: ['spiffe://other.example/a'] });
    expect(() => verify(other)).toThrow(refused('ENMESH_X509_UNTRUSTED', /No trust bundle/));
    const both: TrustBundleSet = new Map([
      ...bundlesOf(top),
      ['other.example', { trustDomain: 'other.example', roots: [(await root()).pem] }],
    ]);
    expect(() => verify(other, [], both)).toThrow(refused('ENMESH_X509_UNTRUSTED', /does not sign/));
  });

  it('is valid from its first to its last millisecond', async () => {
    const leaf = await below(top, { notAfter: now });
    expect(verify(leaf, [], bundlesOf(top), now).uri).toBe(uri);
    expect(() => verify(leaf, [], bundlesOf(top), now + 1)).toThrow(refused('ENMESH_X509_OUT_OF_VALIDITY', /expired/));
    expect(() => verify(leaf, [], bundlesOf(top), times.notBefore - 1)).toThrow(
      refused('ENMESH_X509_OUT_OF_VALIDITY', /not yet/),
    );
  });

  it('climbs through intermediates in any order, and needs every one', async () => {
    const first = await below(top, ca('first'));
    const second = await below(first, ca('second'));
    const leaf = await below(second);
    expect(verify(leaf, [second, first]).uri).toBe(uri);
    expect(verify(leaf, [first, await root(), second]).uri).toBe(uri);
    expect(() => verify(leaf, [second])).toThrow(refused('ENMESH_X509_UNTRUSTED'));
  });

  it.each<[string, Partial<IssueOptions>]>([
    ['no CA', { isCa: false }],
    ['without keyCertSign', { keyUsage: ['digitalSignature'] }],
    ['expired', { notBefore: now - 2 * day, notAfter: now - day }],
    ['not yet valid', { notBefore: now + 1000 }],
  ])('refuses an intermediate that is %s', async (_, change) => {
    const middle = await below(top, { ...ca('middle'), ...change });
    const leaf = await below(middle);
    expect(() => verify(leaf, [middle])).toThrow(refused('ENMESH_X509_UNTRUSTED'));
  });

  it('refuses an expired root and a root without CA flag', async () => {
    const expired = await root({ notAfter: now - 1000 });
    const flagless = await root({ isCa: false });
    for (const bad of [expired, flagless]) {
      const leaf = await below(bad);
      expect(() => verify(leaf, [], bundlesOf(bad))).toThrow(refused('ENMESH_X509_UNTRUSTED'));
    }
  });

  it('obeys the path length of root and intermediates', async () => {
    const short = await root({ pathLength: 0 });
    const middle = await below(short, ca('middle'));
    expect(verify(await below(short), [], bundlesOf(short)).uri).toBe(uri);
    const leaf = await below(middle);
    expect(() => verify(leaf, [middle], bundlesOf(short))).toThrow(refused('ENMESH_X509_UNTRUSTED'));
  });

  it('takes an SVID of the mesh for no CA: it cannot sign others', async () => {
    const workload = await below(top, { subject: { commonName: 'workload' } });
    const leaf = await below(workload);
    expect(() => verify(leaf, [workload])).toThrow(refused('ENMESH_X509_UNTRUSTED'));
  });

  it('refuses more than ten intermediates, and ends with hostile ones', async () => {
    const loop = await Promise.all(Array.from({ length: 10 }, () => root({ subject: { commonName: 'loop' } })));
    const leaf = await below(loop[0] ?? top);
    expect(() => verify(leaf, loop)).toThrow(refused('ENMESH_X509_UNTRUSTED', /does not sign/));
    expect(() => verify(leaf, [...loop, top])).toThrow(refused('ENMESH_X509_UNTRUSTED', /More than 10/));
  });

  it('passes over a root that cannot be read, and trusts the others', async () => {
    const leaf = await below(top);
    const bundles: TrustBundleSet = new Map([
      ['td.example', { trustDomain: 'td.example', roots: [formatPem('CERTIFICATE', Buffer.of(1, 2)), 'nothing', top.pem] }],
    ]);
    expect(verify(leaf, [], bundles).uri).toBe(uri);
  });
});

describe('parseX509Svid', () => {
  it('makes an SVID of a chain and a key in any form', async () => {
    const middle = await below(top, ca('middle'));
    const { pem, key } = await below(middle);
    const svid = parseX509Svid({ chain: pem + middle.pem, privateKey: key });
    expect(svid).toMatchObject({ id: { uri }, chain: pem + middle.pem, privateKey: key, ...times });
    for (const type of ['pkcs8', 'sec1'] as const) {
      expect(
        parseX509Svid({ chain: pem, privateKey: key.export({ type, format: 'pem' }).toString() }).privateKey.equals(key),
      ).toBe(true);
    }
  });

  it.each<[string, (issued: Issued) => string | KeyObject, RegExp]>([
    ['another key', () => newKey(), /does not belong/],
    ['a public key', ({ key }) => createPublicKey(key), /no private key/],
    ['no key', () => 'nothing', /found 0/],
    ['two keys', ({ key }) => key.export({ type: 'pkcs8', format: 'pem' }).toString().repeat(2), /found 2/],
    [
      'an encrypted key',
      ({ key }) => key.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'secret' }).toString(),
      /encrypted/,
    ],
    [
      'a key that is cut off',
      ({ key }) => formatPem('PRIVATE KEY', key.export({ type: 'pkcs8', format: 'der' }).subarray(0, 20)),
      /cannot be read/,
    ],
  ])('refuses %s', async (_, keyOf, message) => {
    const issued = await below(top);
    const privateKey = keyOf(issued);
    expect(() => parseX509Svid({ chain: issued.pem, privateKey })).toThrow(refused('ENMESH_X509_KEY_INVALID', message));
  });

  it('never repeats the key in an error', async () => {
    const { pem, key } = await below(top);
    const text = key.export({ type: 'pkcs8', format: 'pem' }).toString();
    for (const privateKey of [
      text.replace('M', 'N'),
      text.slice(0, 80),
      text.replace('BEGIN', 'BEGIN RSA').replace('END', 'END RSA'),
    ]) {
      try {
        parseX509Svid({ chain: pem, privateKey });
        expect.unreachable();
      } catch (error) {
        const told = JSON.stringify(error, Object.getOwnPropertyNames(error)) + String((error as Error).cause);
        expect(told).not.toContain(text.slice(40, 60));
      }
    }
  });
});
