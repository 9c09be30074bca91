import { createPublicKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { issueCertificate, rootOptions, svidOptions, type IssueOptions } from './certificate.js';
import { readCertificateFacts } from './certificate-facts.js';
import { parsePem } from './pem.js';

const uri = 'spiffe://cluster.local/ns/shop/sa/gateway';
const times = { notBefore: Date.UTC(2026, 0, 1), notAfter: Date.UTC(2026, 0, 2) };
const newKey = () => generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey;
const factsOf = (pem: string) => readCertificateFacts(parsePem(pem, 'CERTIFICATE')[0] ?? Buffer.alloc(0));
const failed = (message: RegExp) =>
  expect.objectContaining({ code: 'ENMESH_X509_ISSUE_FAILED', message: expect.stringMatching(message) });

const rootKey = newKey();
const root = await issueCertificate({ ...rootOptions('cluster.local', rootKey), ...times });
const leafKey = newKey();
const leafRequest: IssueOptions = { ...svidOptions(uri, leafKey), issuer: root, issuerKey: rootKey, ...times };

describe('issueCertificate', () => {
  it('writes a root with the SPIFFE ID of its trust domain', () => {
    expect(factsOf(root)).toMatchObject({
      uriSans: ['spiffe://cluster.local'],
      isCa: true,
      keyUsage: new Set(['keyCertSign', 'cRLSign']),
      extendedKeyUsage: undefined,
      subject: 'O=cluster.local',
      unknownCritical: [],
      ...times,
    });
  });

  it('writes a SPIFFE leaf', async () => {
    const pem = await issueCertificate(leafRequest);
    expect(factsOf(pem)).toMatchObject({
      uriSans: [uri],
      dnsSans: [],
      isCa: false,
      keyUsage: new Set(['digitalSignature']),
      extendedKeyUsage: ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2'],
      subject: '',
      signatureAlgorithm: '1.2.840.10045.4.3.2',
    });
    const x509 = new X509Certificate(pem);
    expect(
      x509.verify(createPublicKey(rootKey)) && x509.checkIssued(new X509Certificate(root)) && x509.checkPrivateKey(leafKey),
    ).toBe(true);
  });

  it('marks as critical what the standards want so, the SAN where the subject is empty', async () => {
    const isCritical = (pem: string, oid: string) =>
      (parsePem(pem, 'CERTIFICATE')[0] ?? Buffer.alloc(0)).includes(Buffer.from(`${oid}0101ff`, 'hex'));
    const leaf = await issueCertificate(leafRequest);
    expect([isCritical(leaf, '0603551d11'), isCritical(root, '0603551d11')]).toEqual([true, false]);
    for (const pem of [leaf, root]) expect([isCritical(pem, '0603551d0f'), isCritical(pem, '0603551d13')]).toEqual([true, true]);
  });

  it('gives every certificate a positive serial of 128 bits of its own', async () => {
    const serials = await Promise.all(
      Array.from({ length: 20 }, async () => factsOf(await issueCertificate(leafRequest)).serial),
    );
    expect(new Set(serials).size).toBe(20);
    for (const serial of serials) expect(serial).toMatch(/^[4-7][0-9a-f]{31}$/);
  });

  it.each([
    ['RSA', generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey, '1.2.840.113549.1.1.11'],
    ['P-384', generateKeyPairSync('ec', { namedCurve: 'secp384r1' }).privateKey, '1.2.840.10045.4.3.3'],
    ['P-521', generateKeyPairSync('ec', { namedCurve: 'secp521r1' }).privateKey, '1.2.840.10045.4.3.4'],
  ])('signs with a key that was plugged in: %s', async (_, issuerKey, signatureAlgorithm) => {
    const issuer = await issueCertificate({ ...rootOptions('cluster.local', issuerKey), ...times });
    const leaf = await issueCertificate({ ...leafRequest, issuer, issuerKey });
    for (const pem of [issuer, leaf]) {
      expect(factsOf(pem).signatureAlgorithm).toBe(signatureAlgorithm);
      expect(new X509Certificate(pem).verify(createPublicKey(issuerKey))).toBe(true);
    }
  });

  it('certifies RSA and Ed25519 keys too, with keyEncipherment for RSA only', async () => {
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const ed = generateKeyPairSync('ed25519');
    const usage = async (key: typeof rsa.publicKey) =>
      factsOf(await issueCertificate({ ...leafRequest, ...svidOptions(uri, key) })).keyUsage;
    expect(await usage(rsa.publicKey)).toEqual(new Set(['digitalSignature', 'keyEncipherment']));
    expect(await usage(ed.publicKey)).toEqual(new Set(['digitalSignature']));
  });

  it('writes path length, DNS names, common name and times beyond 2050', async () => {
    const late = { notBefore: Date.UTC(2049, 11, 31), notAfter: Date.UTC(2050, 0, 1) };
    const subject = { organization: 'Enmesh, "Ltd"', commonName: 'caf\u00e9' };
    const pem = await issueCertificate({
      ...leafRequest,
      ...late,
      isCa: true,
      pathLength: 0,
      keyUsage: ['keyCertSign', 'decipherOnly'],
      dnsSans: ['a.example'],
      subject,
    });
    expect(factsOf(pem)).toMatchObject({
      ...late,
      isCa: true,
      pathLength: 0,
      dnsSans: ['a.example'],
      subject: 'CN=caf\\C3\\A9,O=Enmesh\\, \\"Ltd\\"',
    });
    expect(factsOf(pem).keyUsage).toEqual(new Set(['keyCertSign', 'decipherOnly']));
  });

  it.each<[string, Partial<IssueOptions>, RegExp]>([
    ['a name that forge would cut', { uriSans: ['spiffe://td/\u20ac'] }, /printable ASCII/],
    ['a name with NUL', { uriSans: ['spiffe://td/a\0'] }, /printable ASCII/],
    ['a key that is not the issuer\u2019s', { issuerKey: newKey() }, /does not belong/],
    [
      'an issuer key on another curve',
      { issuerKey: generateKeyPairSync('ec', { namedCurve: 'secp384r1' }).privateKey },
      /belong/,
    ],
    ['an issuer key of another kind', { issuerKey: generateKeyPairSync('ed25519').privateKey }, /neither ECDSA/],
    ['a weak issuer key', { issuerKey: generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey }, /neither ECDSA/],
    ['a public issuer key', { issuerKey: createPublicKey(rootKey) }, /P-256/],
    ['a validity that ends before it begins', { notAfter: times.notBefore }, /validity/],
    ['an issuer that is no certificate', { issuer: 'nothing' }, /missing/],
  ])('refuses %s', async (_, change, message) => {
    await expect(issueCertificate({ ...leafRequest, ...change })).rejects.toThrow(failed(message));
  });
});
