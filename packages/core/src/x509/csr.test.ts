import { execFileSync, spawnSync } from 'node:child_process';
import { createPublicKey, generateKeyPairSync, verify, type KeyObject } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { createCsr } from './csr.js';
import { derChildren, parseDer, type DerElement } from './der.js';
import { readOid } from './der-values.js';
import { parsePem } from './pem.js';

const uriSan = 'spiffe://cluster.local/ns/shop/sa/gateway';
const rsa = (modulusLength: number): KeyObject => generateKeyPairSync('rsa', { modulusLength }).privateKey;
const ec = (namedCurve: string): KeyObject => generateKeyPairSync('ec', { namedCurve }).privateKey;
const keys: readonly (readonly [string, KeyObject, string, string])[] = [
  ['RSA of 2048 bits', rsa(2048), 'sha256', '1.2.840.113549.1.1.11'],
  ['ECDSA on P-256', ec('prime256v1'), 'sha256', '1.2.840.10045.4.3.2'],
  ['ECDSA on P-384', ec('secp384r1'), 'sha384', '1.2.840.10045.4.3.3'],
];

const derOf = (pem: string): Buffer => parsePem(pem, 'CERTIFICATE REQUEST')[0] ?? Buffer.alloc(0);
const at = (element: DerElement | undefined, ...path: number[]): DerElement => {
  let found = element;
  for (const index of path) found = found === undefined ? undefined : derChildren(found)[index];
  if (found === undefined) throw new Error('no such element');
  return found;
};

describe('createCsr', () => {
  it.each(keys)('asks with %s: an empty subject, one URI SAN and the public key alone', async (_name, key, hash, oid) => {
    const request = parseDer(derOf(await createCsr({ key, uriSan })));
    const info = at(request, 0);
    const [version, subject, spki, attributes, more] = derChildren(info);
    expect([version?.content.toString('hex'), subject?.content.length, more]).toEqual(['00', 0, undefined]);
    expect(spki?.bytes.equals(createPublicKey(key).export({ type: 'spki', format: 'der' }))).toBe(true);
    const extensions = at(attributes, 0, 1, 0);
    expect(derChildren(extensions)).toHaveLength(1);
    const [san, critical, value] = derChildren(at(extensions, 0));
    expect([readOid(san), critical?.content.toString('hex')]).toEqual(['2.5.29.17', 'ff']);
    const names = derChildren(parseDer(value?.content ?? Buffer.alloc(0)));
    expect(names.map(({ tag, content }) => [tag, content.toString()])).toEqual([[0x86, uriSan]]);
    expect(readOid(at(request, 1, 0))).toBe(oid);
    expect(verify(hash, info.bytes, createPublicKey(key), at(request, 2).content.subarray(1))).toBe(true);
  });

  it.skipIf(spawnSync('openssl', ['version']).status !== 0).each(keys)('is what OpenSSL verifies: %s', async (_name, key) => {
    const input = await createCsr({ key, uriSan });
    const text = execFileSync('openssl', ['req', '-verify', '-noout', '-text', '-subject'], {
      input,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    expect(text.toString()).toContain(`URI:${uriSan}`);
    expect(text.toString()).toMatch(/Subject: \n/);
  });

  it('never holds the private key', async () => {
    const key = ec('prime256v1');
    const scalar = Buffer.from(key.export({ format: 'jwk' }).d ?? '', 'base64url');
    expect(derOf(await createCsr({ key, uriSan })).includes(scalar)).toBe(false);
  });

  it.each([
    ['RSA of 1024 bits', rsa(1024)],
    ['ECDSA on P-521', ec('secp521r1')],
    ['Ed25519', generateKeyPairSync('ed25519').privateKey],
    ['a public key', createPublicKey(ec('prime256v1'))],
  ])('refuses %s', async (_name, key) => {
    await expect(createCsr({ key, uriSan })).rejects.toMatchObject({ code: 'ENMESH_X509_KEY_INVALID' });
  });

  it('refuses a name that is no SPIFFE ID', async () => {
    const wrong = createCsr({ key: ec('prime256v1'), uriSan: 'https://cluster.local/' });
    await expect(wrong).rejects.toMatchObject({ code: 'ENMESH_IDENTITY_SPIFFE_ID_INVALID' });
  });
});
