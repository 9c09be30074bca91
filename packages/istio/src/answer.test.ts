import { execFileSync, spawnSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createCsr, issueCertificate, parsePem, rootOptions, svidOptions } from '@enmesh/core/x509';
import { afterAll, describe, expect, it } from 'vitest';
import { newKey } from '../../../test/support/istio-ca.js';
import { readAnswer } from './answer.js';

const uri = 'spiffe://cluster.local/ns/shop/sa/gateway';
const hour = 3_600_000;
const now = Date.now();
const times = { notBefore: now - hour, notAfter: now + hour };
const key = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
const asked = { uri, trustDomain: 'cluster.local', key, now };
const taken = expect.objectContaining({ code: 'ENMESH_ISSUANCE_CA_ANSWER' });

const directory = mkdtempSync(join(tmpdir(), 'enmesh-answer-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** A chain as OpenSSL signs it, with weaknesses that our own writer refuses. */
async function chainOf({ caBits = 2048, digest = 'sha256', bits = 2048 }): Promise<readonly string[]> {
  const at = (name: string): string => join(directory, name);
  const openssl = (...args: string[]): void => void execFileSync('openssl', args, { stdio: 'pipe' });
  const leafKey = bits === 2048 ? key : generateKeyPairSync('rsa', { modulusLength: bits }).privateKey;
  openssl(
    'req',
    '-x509',
    '-newkey',
    `rsa:${caBits}`,
    '-nodes',
    '-sha256',
    '-days',
    '2',
    '-subj',
    '/O=Root',
    '-keyout',
    at('ca.key'),
    '-out',
    at('ca.pem'),
    '-addext',
    'keyUsage=critical,keyCertSign',
  );
  if (bits === 2048) writeFileSync(at('csr'), await createCsr({ key: leafKey, uriSan: uri }));
  else {
    writeFileSync(at('leaf.key'), leafKey.export({ type: 'pkcs8', format: 'pem' }));
    openssl('req', '-new', '-key', at('leaf.key'), '-subj', '/O=x', '-out', at('csr'));
  }
  writeFileSync(
    at('ext'),
    `basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature,keyEncipherment\nsubjectAltName=critical,URI:${uri}\n`,
  );
  openssl(
    'x509',
    '-req',
    `-${digest}`,
    '-days',
    '1',
    '-in',
    at('csr'),
    '-CA',
    at('ca.pem'),
    '-CAkey',
    at('ca.key'),
    '-CAcreateserial',
    '-extfile',
    at('ext'),
    '-out',
    at('leaf.pem'),
  );
  return [readFileSync(at('leaf.pem'), 'utf8'), readFileSync(at('ca.pem'), 'utf8')];
}

describe.skipIf(spawnSync('openssl', ['version']).status !== 0)('a chain that OpenSSL signed', () => {
  it('is taken when everything in it is strong', async () => {
    expect(readAnswer(await chainOf({}), { ...asked, now: Date.now() }).svid.id.uri).toBe(uri);
  });

  it.each([
    ['a leaf signed with SHA-1', { digest: 'sha1' }],
    ['a root of RSA-1024', { caBits: 1024 }],
    ['a leaf of RSA-1024', { bits: 1024 }],
  ])('is not taken with %s', async (_what, options) => {
    const chain = await chainOf(options);
    expect(() => readAnswer(chain, { ...asked, now: Date.now() })).toThrow(taken);
  });
});

describe('readAnswer', () => {
  it('leaves the root out of the chain that is shown to peers, and keeps the intermediate', async () => {
    const rootKey = newKey();
    const root = await issueCertificate({ ...rootOptions('cluster.local', rootKey), ...times });
    const middleKey = newKey();
    const middle = await issueCertificate({
      key: middleKey,
      issuer: root,
      issuerKey: rootKey,
      subject: { organization: 'middle' },
      isCa: true,
      keyUsage: ['keyCertSign'],
      ...times,
    });
    const leaf = await issueCertificate({ ...svidOptions(uri, key), issuer: middle, issuerKey: middleKey, ...times });
    const { svid, roots } = readAnswer([leaf, middle, root, root], asked);
    expect(parsePem(svid.chain, 'CERTIFICATE')).toEqual(parsePem(leaf + middle, 'CERTIFICATE'));
    expect(roots).toEqual([root]);
    // Elements may hold several certificates.
    expect(readAnswer([leaf + middle, root], asked).svid.chain).toBe(svid.chain);
    expect(() => readAnswer([leaf, root], asked)).toThrow(taken);
  });

  it('takes two SANs, a CA and a leaf without digitalSignature for no answer', async () => {
    const rootKey = newKey();
    const root = await issueCertificate({ ...rootOptions('cluster.local', rootKey), ...times });
    const leaf = { ...svidOptions(uri, key), issuer: root, issuerKey: rootKey, ...times };
    for (const bent of [
      { uriSans: [uri, `${uri}2`] },
      { isCa: true },
      { keyUsage: ['keyEncipherment'] as const },
      { uriSans: [], dnsSans: ['gateway'] },
    ]) {
      const chain = [await issueCertificate({ ...leaf, ...bent }), root];
      expect(() => readAnswer(chain, asked)).toThrow(taken);
    }
  });
});
