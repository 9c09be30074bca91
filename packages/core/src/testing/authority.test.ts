import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { ErrorCode } from '../errors.js';
import { parsePem } from '../x509/pem.js';
import { verifySvidChain } from '../x509/svid-verify.js';
import { badCertificates, createTestAuthority, type BadCertificate } from './authority.js';

const gateway = { namespace: 'shop', serviceAccount: 'gateway' };
const authority = await createTestAuthority();

const verify = (chain: string) => {
  const [leaf = Buffer.alloc(0), ...intermediates] = parsePem(chain, 'CERTIFICATE');
  return verifySvidChain({ leaf, intermediates, bundles: authority.bundles, now: Date.now() });
};

describe('createTestAuthority', () => {
  it('issues SVIDs that its own bundle verifies', async () => {
    const svid = await authority.issue(gateway);
    expect(svid.id.uri).toBe('spiffe://cluster.local/ns/shop/sa/gateway');
    expect(verify(svid.chain)).toEqual(svid.id);
  });

  it('gives an identity whose sources hold the SVID and the bundles', async () => {
    const identity = await authority.identity(gateway);
    expect(identity.svid.current().id.path).toBe('/ns/shop/sa/gateway');
    expect(identity.bundles.current()).toBe(authority.bundles);
    expect(authority.bundles.get('cluster.local')?.roots).toEqual([authority.rootPem]);
  });

  it('issues for the validity asked for, in whole seconds', async () => {
    const svid = await authority.issue({ ...gateway, notBefore: Date.UTC(2026, 0, 1), notAfter: Date.UTC(2051, 0, 1) });
    expect([svid.notBefore, svid.notAfter]).toEqual([Date.UTC(2026, 0, 1), Date.UTC(2051, 0, 1)]);
  });

  it('signs a leaf for any URI, which is an SVID only where the URI is a SPIFFE ID of the trust domain', async () => {
    const uri = 'spiffe://cluster.local/region/r/ns/web/sa/cart';
    expect(verify((await authority.issueUri(uri)).chain).uri).toBe(uri);
    const other = await authority.issueUri('https://cluster.local//x/');
    expect(() => verify(other.chain)).toThrow(/Not an X.509-SVID/);
  });

  it('takes another trust domain and refuses an impossible one', async () => {
    const other = await createTestAuthority({ trustDomain: 'td.example' });
    expect((await other.issue(gateway)).id.uri).toBe('spiffe://td.example/ns/shop/sa/gateway');
    await expect(createTestAuthority({ trustDomain: 'Td' })).rejects.toMatchObject({
      code: 'ENMESH_IDENTITY_TRUST_DOMAIN_INVALID',
    });
    await expect(authority.issue({ namespace: 'a/sa/b', serviceAccount: 'c' })).rejects.toMatchObject({
      code: 'ENMESH_IDENTITY_SPIFFE_ID_INVALID',
    });
  });
});

const verdicts: Readonly<Record<BadCertificate, [ErrorCode, RegExp]>> = {
  expired: ['ENMESH_X509_OUT_OF_VALIDITY', /expired/],
  'not-yet-valid': ['ENMESH_X509_OUT_OF_VALIDITY', /not yet valid/],
  'foreign-trust-domain': ['ENMESH_X509_UNTRUSTED', /No trust bundle/],
  'unknown-root': ['ENMESH_X509_UNTRUSTED', /does not sign/],
  'stolen-trust-domain': ['ENMESH_X509_UNTRUSTED', /No trust bundle/],
  'no-uri': ['ENMESH_X509_SVID_INVALID', /no URI SAN/],
  'two-uris': ['ENMESH_X509_SVID_INVALID', /more than one URI SAN/],
  ca: ['ENMESH_X509_SVID_INVALID', /is a CA/],
  'key-cert-sign': ['ENMESH_X509_SVID_INVALID', /keyCertSign/],
  'no-digital-signature': ['ENMESH_X509_SVID_INVALID', /digitalSignature/],
  'client-auth-only': ['ENMESH_X509_SVID_INVALID', /extended key usage/],
  'dns-only': ['ENMESH_X509_SVID_INVALID', /no URI SAN/],
  'malformed-id': ['ENMESH_X509_SVID_INVALID', /dot segments/],
  'no-path': ['ENMESH_X509_SVID_INVALID', /names a trust domain/],
  'self-signed': ['ENMESH_X509_UNTRUSTED', /does not sign/],
};

describe('issueBad', () => {
  it.each(badCertificates)('makes a certificate %s that verification refuses for that very reason', async (kind) => {
    const { chain } = await authority.issueBad(kind, gateway);
    const [code, message] = verdicts[kind];
    expect(() => verify(chain)).toThrow(expect.objectContaining({ code, message: expect.stringMatching(message) }));
  });

  it('refuses the stolen trust domain also where the true bundle of that domain is held', async () => {
    const foreign = await createTestAuthority({ trustDomain: 'foreign.example' });
    const { chain } = await authority.issueBad('stolen-trust-domain', gateway);
    const [leaf = Buffer.alloc(0)] = parsePem(chain, 'CERTIFICATE');
    const bundles = new Map([...authority.bundles, ...foreign.bundles]);
    expect(() => verifySvidChain({ leaf, intermediates: [], bundles, now: Date.now() })).toThrow(/foreign.example does not sign/);
  });

  it('dresses any of them as an identity that shows it', async () => {
    const identity = await authority.badIdentity('expired', gateway);
    expect(() => verify(identity.svid.current().chain)).toThrow(/expired/);
  });
});

const hasOpenssl = spawnSync('openssl', ['version']).status === 0;
if (!hasOpenssl) console.log('skip: openssl is not on PATH');

describe.skipIf(!hasOpenssl)('openssl verify -x509_strict', () => {
  it('accepts root and leaf', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'enmesh-openssl-'));
    try {
      const svid = await authority.issue(gateway);
      writeFileSync(join(directory, 'root.pem'), authority.rootPem);
      writeFileSync(join(directory, 'leaf.pem'), svid.chain);
      const run = spawnSync('openssl', ['verify', '-x509_strict', '-CAfile', 'root.pem', 'leaf.pem'], {
        cwd: directory,
        encoding: 'utf8',
      });
      expect(run.stderr + run.stdout).toBe('leaf.pem: OK\n');
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
