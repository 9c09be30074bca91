import { generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import type { TrustBundleSet } from '../identity/trust-bundle.js';
import { issueCertificate, rootOptions, svidOptions } from './certificate.js';
import { readCertificateFacts } from './certificate-facts.js';
import { parseCrl } from './crl.js';
import { parsePem } from './pem.js';
import { verifySvidChain } from './svid-verify.js';

const tlv = (tag: number, ...parts: Uint8Array[]): Buffer => {
  const content = Buffer.concat(parts);
  const { length } = content;
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.of(tag, ...size), content]);
};
const sequence = (...parts: Uint8Array[]): Buffer => tlv(0x30, ...parts);
const time = (text: string): Buffer => tlv(0x17, Buffer.from(text));
const integer = (hex: string): Buffer => {
  const magnitude = Buffer.from(hex, 'hex');
  return tlv(0x02, (magnitude[0] ?? 0) < 0x80 ? magnitude : Buffer.concat([Buffer.of(0), magnitude]));
};
const ecdsaSha256 = sequence(tlv(0x06, Buffer.from('2a8648ce3d040302', 'hex')));
/** OID 2.5.29.27, a delta list. */
const extension = (critical: boolean): Buffer =>
  sequence(
    tlv(0x06, Buffer.of(0x55, 0x1d, 0x1b)),
    ...(critical ? [tlv(0x01, Buffer.of(0xff))] : []),
    tlv(0x04, Buffer.of(2, 1, 0)),
  );

interface ListOptions {
  readonly issuer: string;
  readonly key: KeyObject;
  readonly serials: readonly string[];
  readonly nextUpdate?: string;
  readonly listExtensions?: Buffer;
  readonly entryExtensions?: Buffer;
}

const writeCrl = ({ issuer, key, serials, nextUpdate, listExtensions, entryExtensions }: ListOptions): Buffer => {
  const { subjectDer } = readCertificateFacts(parsePem(issuer, 'CERTIFICATE')[0]!);
  const entries = serials.map((serial) =>
    sequence(integer(serial), time('260101000000Z'), ...(entryExtensions ? [sequence(entryExtensions)] : [])),
  );
  const body = sequence(
    tlv(0x02, Buffer.of(1)),
    ecdsaSha256,
    subjectDer,
    time('260101000000Z'),
    ...(nextUpdate === undefined ? [] : [time(nextUpdate)]),
    ...(entries.length === 0 ? [] : [sequence(...entries)]),
    ...(listExtensions === undefined ? [] : [tlv(0xa0, sequence(listExtensions))]),
  );
  return sequence(body, ecdsaSha256, tlv(0x03, Buffer.of(0), sign('sha256', body, key)));
};

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

  it('count only with the signature of that issuer', () => {
    expect(check(leaf, [writeCrl({ issuer: root, key: signerKey, serials: [serialOf(leaf)] })]).uri).toBe('spiffe://td.test/a');
  });

  it('count after their next update too: what was revoked stays so', () => {
    const serials = [serialOf(leaf)];
    expect(() => check(leaf, [writeCrl({ issuer: root, key: rootKey, serials, nextUpdate: '260102000000Z' })])).toThrow(revoked);
  });

  it('of a kind that is not understood count for nothing and do not read', () => {
    const serials = [serialOf(leaf)];
    const delta = writeCrl({ issuer: root, key: rootKey, serials, listExtensions: extension(true) });
    const indirect = writeCrl({ issuer: root, key: rootKey, serials, entryExtensions: extension(true) });
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
      listExtensions: extension(false),
      entryExtensions: extension(false),
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
