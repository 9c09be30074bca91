import { generateKeyPairSync } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import { crlExtension, writeCrl } from '../../../../test/support/crl.js';
import type { TrustBundleSet } from '../identity/trust-bundle.js';
import { issueCertificate, rootOptions, svidOptions } from './certificate.js';
import { readCertificateFacts } from './certificate-facts.js';
import { parseCrl } from './crl.js';
import { parsePem } from './pem.js';
import { verifySvidChain } from './svid-verify.js';

const newKey = () => generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey;
const rootKey = newKey();
const signerKey = newKey();
const times = { notBefore: Date.now() - 60_000, notAfter: Date.now() + 3_600_000 };
const derOf = (pem: string): Buffer => parsePem(pem, 'CERTIFICATE')[0]!;
let root = '';
let signer = '';
let leaf = '';
let below = '';

beforeAll(async () => {
  root = await issueCertificate({ ...rootOptions('td.test', rootKey), ...times });
  const ca = { isCa: true, keyUsage: ['keyCertSign', 'cRLSign'] as const, subject: { organization: 'signer' } };
  const byRoot = { issuer: root, issuerKey: rootKey, ...times };
  signer = await issueCertificate({ key: signerKey, ...byRoot, ...ca });
  leaf = await issueCertificate({ ...svidOptions('spiffe://td.test/a', newKey()), ...byRoot });
  const bySigner = { issuer: signer, issuerKey: signerKey, ...times };
  below = await issueCertificate({ ...svidOptions('spiffe://td.test/b', newKey()), ...bySigner });
});

const serialOf = (pem: string): string => readCertificateFacts(derOf(pem)).serial;
const check = (pem: string, crls: readonly Buffer[]) => {
  const bundles: TrustBundleSet = new Map([['td.test', { trustDomain: 'td.test', roots: [root], crls }]]);
  return verifySvidChain({ leaf: derOf(pem), intermediates: [derOf(signer)], bundles, now: Date.now() });
};
const revoked = expect.objectContaining({ code: 'ENMESH_X509_REVOKED' }) as unknown;

describe('revocation lists of a trust domain', () => {
  it('refuse the SVIDs and signers they name, and nobody else', () => {
    const list = (...serials: string[]) => [writeCrl({ issuer: root, key: rootKey, serials, nextUpdate: '270101000000Z' })];
    expect(check(leaf, list('0102')).uri).toBe('spiffe://td.test/a');
    expect(() => check(leaf, list('0102', serialOf(leaf)))).toThrow(revoked);
    expect(check(below, list(serialOf(leaf))).uri).toBe('spiffe://td.test/b');
    expect(() => check(below, list(serialOf(signer)))).toThrow(revoked);
  });

  it('count for what their issuer signed: the same serial of another issuer is another certificate', () => {
    const serials = [serialOf(below)];
    expect(check(below, [writeCrl({ issuer: root, key: rootKey, serials })]).uri).toBe('spiffe://td.test/b');
    expect(() => check(below, [writeCrl({ issuer: signer, key: signerKey, serials })])).toThrow(revoked);
  });

  it('count for one name of a key only', async () => {
    const renamed = await issueCertificate({ ...rootOptions('td.test', rootKey), subject: { organization: 'other' }, ...times });
    expect(check(leaf, [writeCrl({ issuer: renamed, key: rootKey, serials: [serialOf(leaf)] })]).uri).toBe('spiffe://td.test/a');
  });

  it('count only with the signature of that issuer', () => {
    expect(check(leaf, [writeCrl({ issuer: root, key: signerKey, serials: [serialOf(leaf)] })]).uri).toBe('spiffe://td.test/a');
  });

  it('count only from a signer that may issue them', async () => {
    const ca = { isCa: true, keyUsage: ['keyCertSign'] as const, subject: { organization: 'signer' } };
    const silent = await issueCertificate({ key: signerKey, issuer: root, issuerKey: rootKey, ...times, ...ca });
    const crls = [writeCrl({ issuer: silent, key: signerKey, serials: [serialOf(below)] })];
    const bundles: TrustBundleSet = new Map([['td.test', { trustDomain: 'td.test', roots: [root], crls }]]);
    const query = { leaf: derOf(below), bundles, now: Date.now() };
    expect(verifySvidChain({ ...query, intermediates: [derOf(silent)] }).uri).toBe('spiffe://td.test/b');
    expect(() => verifySvidChain({ ...query, intermediates: [derOf(signer)] })).toThrow(revoked);
  });

  it('count after their next update too: what was revoked stays so', () => {
    const serials = [serialOf(leaf)];
    expect(() => check(leaf, [writeCrl({ issuer: root, key: rootKey, serials, nextUpdate: '260102000000Z' })])).toThrow(revoked);
  });

  it('of a kind that is not understood count for nothing and do not read', () => {
    const serials = [serialOf(leaf)];
    const delta = writeCrl({ issuer: root, key: rootKey, serials, listExtension: crlExtension(true) });
    const indirect = writeCrl({ issuer: root, key: rootKey, serials, entryExtension: crlExtension(true) });
    for (const list of [delta, indirect, Buffer.from('no list'), Buffer.alloc(70_000, 0x30)]) {
      expect(() => parseCrl(list)).toThrow(expect.objectContaining({ code: 'ENMESH_X509_CRL_INVALID' }));
      expect(check(leaf, [list]).uri).toBe('spiffe://td.test/a');
    }
  });

  it('say who issued them, when, and what they name', () => {
    const options = {
      issuer: root,
      key: rootKey,
      serials: ['0a', 'ff01'],
      listExtension: crlExtension(false),
      entryExtension: crlExtension(false),
    };
    expect(parseCrl(writeCrl({ ...options, nextUpdate: '270101000000Z' }))).toEqual({
      issuerDer: readCertificateFacts(derOf(root)).subjectDer,
      serials: new Set(['0a', 'ff01']),
      thisUpdate: Date.UTC(2026, 0, 1),
      nextUpdate: Date.UTC(2027, 0, 1),
    });
    expect(parseCrl(writeCrl({ issuer: root, key: rootKey, serials: [] }))).toMatchObject({
      serials: new Set(),
      nextUpdate: undefined,
    });
  });
});
