import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { issueCertificate, rootOptions, type IssueOptions } from '@enmesh/core/x509';
import { readSigner, readTrusted } from './signing-files.js';

const trustDomain = 'cluster.local';
const now = Date.UTC(2026, 0, 10);
const day = 86_400_000;
const times = { notBefore: now - day, notAfter: now + 10 * day };
const ec = (namedCurve = 'prime256v1'): KeyObject => generateKeyPairSync('ec', { namedCurve }).privateKey;
const rsa = (modulusLength = 2048): KeyObject => generateKeyPairSync('rsa', { modulusLength }).privateKey;
const pemOf = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }).toString();
const rootKey = ec('secp384r1');
const root = await issueCertificate({ ...rootOptions(trustDomain, rootKey), ...times });
const intermediateKey = ec();
const intermediateOptions: IssueOptions = {
  ...rootOptions(trustDomain, intermediateKey),
  subject: { commonName: 'Intermediate' },
  issuer: root,
  issuerKey: rootKey,
  ...times,
  notAfter: now + 5 * day,
};
const intermediate = await issueCertificate(intermediateOptions);

const bad = {
  leaf: await issueCertificate({ ...intermediateOptions, isCa: false, keyUsage: ['digitalSignature'] }),
  noKeyCertSign: await issueCertificate({ ...intermediateOptions, keyUsage: ['digitalSignature'] }),
  foreign: await issueCertificate({ ...intermediateOptions, uriSans: ['spiffe://other'] }),
  alike: await issueCertificate({ ...intermediateOptions, uriSans: ['spiffe://cluster.local.evil'] }),
  otherRoot: await issueCertificate({ ...rootOptions(trustDomain, ec()), ...times }),
};

let directory = '';
beforeEach(() => (directory = mkdtempSync(join(tmpdir(), 'enmesh-signing-'))));
afterEach(() => rmSync(directory, { recursive: true }));

const good = {
  'ca-cert.pem': intermediate,
  'ca-key.pem': pemOf(intermediateKey),
  'cert-chain.pem': intermediate + root,
  'root-cert.pem': root,
};
function write(changes: Readonly<Record<string, string | null>> = {}): void {
  for (const [name, text] of Object.entries<string | null>({ ...good, ...changes }))
    if (text !== null) writeFileSync(join(directory, name), text, { mode: name.includes('key') ? 0o600 : 0o644 });
}
const read = () => readSigner(directory, trustDomain, now);
const unusable = (text: RegExp, code = 'ENMESH_CA_FILES'): Error =>
  expect.objectContaining({ code, message: expect.stringMatching(text) as string }) as Error;

describe('a signing certificate', () => {
  it('is read with what stands between it and its root, and ends when the first of them does', async () => {
    write();
    expect(await read()).toMatchObject({
      certificate: intermediate,
      intermediates: [intermediate],
      roots: [root],
      notAfter: now + 5 * day,
    });
  });

  it('may be a root itself, without a chain file', async () => {
    write({ 'ca-cert.pem': root, 'ca-key.pem': pemOf(rootKey), 'cert-chain.pem': null });
    expect(await read()).toMatchObject({ certificate: root, intermediates: [], roots: [root] });
  });

  it('may have an RSA key and stand two steps below a root that is one of several', async () => {
    const key = rsa();
    const low = await issueCertificate({
      ...intermediateOptions,
      ...rootOptions(trustDomain, key),
      subject: { commonName: 'Low' },
      issuer: intermediate,
      issuerKey: intermediateKey,
    });
    const otherKey = ec();
    const other = await issueCertificate({ ...rootOptions(trustDomain, otherKey), subject: { commonName: 'Other' }, ...times });
    write({ 'ca-cert.pem': low, 'ca-key.pem': pemOf(key), 'cert-chain.pem': low + intermediate, 'root-cert.pem': other + root });
    expect(await read()).toMatchObject({ intermediates: [low, intermediate], roots: [other, root] });
    expect(await readTrusted(directory)).toEqual({ roots: [other, root], intermediates: [low, intermediate] });
  });

  it.each([
    ['a missing key', { 'ca-key.pem': null }, /ca-key.pem: it is missing/],
    ['a missing root', { 'root-cert.pem': null }, /root-cert.pem: it is missing/],
    ['an empty root file', { 'root-cert.pem': '' }, /holds no certificate/],
    ['the key of another', { 'ca-key.pem': pemOf(ec()) }, /not the key of/],
    ['no PEM', { 'ca-cert.pem': 'hello' }, /does not hold one certificate/],
    ['half a PEM', { 'ca-cert.pem': intermediate.slice(0, 100) }, /ca-cert.pem: .*does not end/],
    ['a chain that leads nowhere', { 'root-cert.pem': bad.otherRoot }, /does not lead/],
    ['a leaf', { 'ca-cert.pem': bad.leaf }, /no CA/],
    ['a CA without keyCertSign', { 'ca-cert.pem': bad.noKeyCertSign }, /no CA that may sign/],
    ['another trust domain', { 'ca-cert.pem': bad.foreign }, /for spiffe:\/\/other/],
    ['a trust domain that only begins alike', { 'ca-cert.pem': bad.alike }, /not for/],
    [
      'a leaf among the roots',
      {
        'root-cert.pem': root + bad.leaf,
      },
      /is no CA/,
    ],
  ] as [string, Record<string, string | null>, RegExp][])('is not used with %s', async (_, changes, text) => {
    write(changes);
    await expect(read()).rejects.toThrow(unusable(text));
  });

  it('is not used when its root lets no CA stand below it, which only a trial shows', async () => {
    const strictRoot = await issueCertificate({ ...rootOptions(trustDomain, rootKey), pathLength: 0, ...times });
    const below = await issueCertificate({ ...intermediateOptions, issuer: strictRoot });
    write({ 'ca-cert.pem': below, 'cert-chain.pem': below, 'root-cert.pem': strictRoot });
    await expect(read()).rejects.toThrow(unusable(/not accepted by peers/));
  });

  it.skipIf(process.platform === 'win32')('is not used when others can read its key', async () => {
    write();
    chmodSync(join(directory, 'ca-key.pem'), 0o644);
    await expect(read()).rejects.toThrow(unusable(/other users may use it \(mode 644\)/));
    chmodSync(join(directory, 'ca-key.pem'), 0o640);
    await expect(read()).resolves.toBeDefined();
  });

  it('is not used before its time or after it', async () => {
    write();
    await expect(readSigner(directory, trustDomain, now - 2 * day)).rejects.toThrow(unusable(/begins at/, 'ENMESH_CA_EXPIRED'));
    await expect(readSigner(directory, trustDomain, now + 6 * day)).rejects.toThrow(unusable(/ended at/, 'ENMESH_CA_EXPIRED'));
  });
});
