import { randomBytes } from 'node:crypto';
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createTestAuthority } from '@enmesh/core/testing';
import { formatPem, parseCsr, parsePem } from '@enmesh/core/x509';
import { describe, expect, it } from 'vitest';
import type { IstioIdentityWorld } from './identity.js';
import { createIstioIdentity } from './index.js';
import { createSigner, newKey, signFor, type TestCa } from '../../../test/support/istio-ca.js';
import {
  asked,
  atEnd,
  failure,
  hour,
  open,
  openOnClock,
  soon,
  start,
  told,
  uri,
  useIstioStage,
} from '../../../test/support/istio-stage.js';
import { until } from '../../../test/support/waiting.js';

useIstioStage();

describe('createIstioIdentity', () => {
  it('gets the identity by token and trusts the roots that came along', async () => {
    const ca = await start();
    const identity = open(ca, { headers: { 'X-Extra': 'one' }, clusterId: 'east', ttlSeconds: 600 });
    expect(() => identity.svid.current()).toThrow(expect.objectContaining({ code: 'ENMESH_IDENTITY_NONE' }));
    expect(() => identity.bundles.current()).toThrow(expect.objectContaining({ code: 'ENMESH_IDENTITY_NONE' }));
    await identity.ready();
    expect(identity.svid.current().id.uri).toBe(uri);
    expect(identity.bundles.current().get('cluster.local')?.roots).toEqual([ca.rootPem]);
    expect(parsePem(identity.svid.current().chain, 'CERTIFICATE')).toHaveLength(1);
    expect(identity.description).toBe(`Istio's CA at ${ca.address}`);
    const [call] = ca.calls;
    expect(call).toMatchObject({ authorization: 'Bearer first.token.x', metadata: { clusterid: 'east', 'x-extra': 'one' } });
    expect(call?.request).toMatchObject({ validity_duration: 600, metadata: null });
    expect(parseCsr(call?.request.csr ?? '')).toMatchObject({ uriSans: [uri] });
  });

  it('works as the agent does from its environment alone', async () => {
    const ca = await start();
    const env = {
      CA_ADDR: ca.address,
      CA_ROOT_CA: ca.rootFile,
      CA_PROVIDER: 'Citadel',
      TRUST_DOMAIN: 'cluster.local',
      SECRET_TTL: '1h30m',
      ECC_SIGNATURE_ALGORITHM: 'ECDSA',
      ECC_CURVE: 'P384',
      ISTIO_META_CLUSTER_ID: 'west',
      ISTIO_META_CERT_SIGNER: 'corp',
      CA_HEADER_TENANT: 'blue',
      OUTPUT_CERTS: '/etc/out',
    };
    const identity = await createIstioIdentity({ ...asked, env, tokenFile: ca.tokenFile });
    atEnd(() => identity.close());
    await identity.ready();
    expect(identity.svid.current().privateKey.asymmetricKeyDetails?.namedCurve).toBe('secp384r1');
    expect(ca.calls[0]).toMatchObject({
      request: { validity_duration: 5400, metadata: { fields: { CertSigner: { string_value: 'corp' } } } },
      metadata: { clusterid: 'west', tenant: 'blue' },
    });
    expect(told('identity-doubtful').map(({ message }) => message)).toEqual([expect.stringContaining('OUTPUT_CERTS')]);
  });

  it.each([
    ['rsa-2048', { modulusLength: 2048 }],
    ['rsa-3072', { modulusLength: 3072 }],
    ['ecdsa-p256', { namedCurve: 'prime256v1' }],
    ['ecdsa-p384', { namedCurve: 'secp384r1' }],
  ] as const)('makes a key of type %s', async (keyType, details) => {
    const identity = open(await start(), { keyType });
    await identity.ready();
    expect(identity.svid.current().privateKey.asymmetricKeyDetails).toMatchObject(details);
  });

  it('makes a new key and reads the token again for each certificate', async () => {
    const ca = await start();
    const { identity, clock } = openOnClock(ca);
    await identity.ready();
    const first = identity.svid.current();
    writeFileSync(ca.tokenFile, 'second.token.y');
    clock.advance(0.5 * hour + 5_000);
    await until(() => ca.calls.length >= 2 && identity.svid.current() !== first);
    expect(ca.calls[1]?.authorization).toBe('Bearer second.token.y');
    expect(identity.svid.current().privateKey.equals(first.privateKey)).toBe(false);
  });

  it('renews at the ratio of SECRET_GRACE_PERIOD_RATIO', async () => {
    const ca = await start();
    const env = { SECRET_GRACE_PERIOD_RATIO: '0.25', SECRET_GRACE_PERIOD_RATIO_JITTER: '0.001' };
    const { identity, clock } = openOnClock(ca, env);
    await identity.ready();
    // Had it asked before, nobody would have answered while the clock ran on.
    clock.advance(0.75 * hour + 5_000);
    await until(() => ca.calls.length === 2);
    expect(told('identity-renewal-failed')).toEqual([]);
  });

  it('gives a call up at close', async () => {
    const ca = await start();
    ca.behave(() => new Promise(() => undefined));
    const identity = open(ca, {}, { ...soon, callTimeoutMs: 60_000 });
    await until(() => ca.calls.length === 1);
    await identity.close();
    await until(() => ca.calls[0]?.isCancelled() === true);
  });

  it('ends at close: no timer, no SVID', async () => {
    const { identity, clock } = openOnClock(await start());
    await identity.ready();
    expect(clock.pending).toBeGreaterThan(0);
    await identity.close();
    expect(clock.pending).toBe(0);
    expect(() => identity.svid.current()).toThrow(expect.objectContaining({ code: 'ENMESH_IDENTITY_NONE' }));
    expect(() => identity.bundles.current()).toThrow(expect.objectContaining({ code: 'ENMESH_IDENTITY_NONE' }));
    await expect(identity.ready()).rejects.toMatchObject({ code: 'ENMESH_IDENTITY_NONE' });
  });
});

describe('an answer that must not be taken', () => {
  it.each<readonly [string, Parameters<TestCa['behave']>[0], RegExp]>([
    [
      'another identity',
      async ({ request }, ca) => [await signFor(ca, request.csr, { uri: 'spiffe://cluster.local/ns/shop/sa/admin' }), ca.rootPem],
      /names spiffe:.*admin/,
    ],
    [
      'an identity of another trust domain',
      async ({ request }, ca) => [await signFor(ca, request.csr, { uri: 'spiffe://other/ns/shop/sa/gateway' }), ca.rootPem],
      /names spiffe:\/\/other/,
    ],
    [
      'a chain for another key',
      async ({ request }, ca) => [await signFor(ca, request.csr, { key: newKey() }), ca.rootPem],
      /private key does not belong/,
    ],
    [
      'an expired leaf',
      async ({ request }, ca) => [await signFor(ca, request.csr, { from: -2 * hour, life: -hour }), ca.rootPem],
      /expired/,
    ],
    [
      'a root that does not sign it',
      async ({ request }, ca) => [await signFor(ca, request.csr), (await createSigner()).rootPem],
      /does not sign/,
    ],
    ['no chain', () => [], /has 0 certificates/],
    ['a leaf alone', async ({ request }, ca) => [await signFor(ca, request.csr)], /has 1 certificates/],
    ['no root', async ({ request }, ca) => [await signFor(ca, request.csr), ''], /holds no root/],
    [
      'a root that cannot be read',
      async ({ request }, ca) => [await signFor(ca, request.csr), formatPem('CERTIFICATE', randomBytes(300))],
      /Not a certificate/,
    ],
    ['no leaf', (_call, ca) => ['', ca.rootPem], /no certificate in it/],
    [
      'too many parts',
      async ({ request }, ca) => [await signFor(ca, request.csr), ...Array.from({ length: 16 }, () => ca.rootPem)],
      /more than 16 parts/,
    ],
    ['too many roots', async ({ request }, ca) => [await signFor(ca, request.csr), await manyRoots(65)], /more than 64 roots/],
    ['10 MB', (_call, ca) => [ca.rootPem, 'x'.repeat(10_000_000)], /longer than 256 KiB/],
  ])('%s: the last good SVID stays', async (_what, behaviour, message) => {
    const ca = await start();
    const { identity, clock } = openOnClock(ca);
    await identity.ready();
    const { serial } = identity.svid.current();
    ca.behave(behaviour);
    clock.advance(0.5 * hour + 5_000);
    const notice = await failure(identity);
    expect(notice).toMatchObject({ code: 'ENMESH_ISSUANCE_CA_ANSWER', message: expect.stringMatching(message) as string });
    expect(identity.svid.current().serial).toBe(serial);
    expect(identity.bundles.current().get('cluster.local')?.roots).toEqual([ca.rootPem]);
    expect(notice.message).not.toContain('BEGIN');
  });

  it('a leaf that is not valid yet: the clock is named', async () => {
    const ca = await start();
    ca.behave(async ({ request }, self) => [await signFor(self, request.csr, { from: hour, life: 2 * hour }), self.rootPem]);
    expect((await failure(open(ca))).code).toBe('ENMESH_ISSUANCE_CLOCK');
  });
});

describe('the roots that are trusted', () => {
  const mounted = (ca: TestCa, pem: string): void => {
    writeFileSync(join(ca.directory, 'next.pem'), pem);
    renameSync(join(ca.directory, 'next.pem'), ca.rootFile);
  };
  const fast: IstioIdentityWorld = {
    random: () => 0.5,
    timer(run, ms) {
      const handle = setTimeout(run, ms === 5_000 ? 20 : ms);
      return () => clearTimeout(handle);
    },
  };

  it('are those of the CA and those of the mounted file beside it, as soon as it changes', async () => {
    const ca = await start();
    const identity = open(ca, {}, fast);
    await identity.ready();
    const heard: number[] = [];
    identity.bundles.watch((bundles) => void heard.push(bundles.get('cluster.local')?.roots.length ?? 0));
    const next = await createSigner();
    mounted(ca, ca.rootPem + next.rootPem);
    await until(() => heard.length > 0);
    expect(identity.bundles.current().get('cluster.local')?.roots).toEqual([ca.rootPem, next.rootPem]);
    mounted(ca, ca.rootPem);
    await until(() => heard.length > 1);
    expect(identity.bundles.current().get('cluster.local')?.roots).toEqual([ca.rootPem]);
  });

  it('stay when the file is damaged, and that is told', async () => {
    const ca = await start();
    const identity = open(ca, {}, fast);
    await identity.ready();
    mounted(ca, 'nothing');
    await until(() => told('identity-doubtful').length > 0);
    expect(told('identity-doubtful')[0]?.message).toContain('going on with the roots that were read before');
    expect(identity.bundles.current().get('cluster.local')?.roots).toEqual([ca.rootPem]);
  });

  it('are not those of another PKI that only the CA is proved with', async () => {
    const front = await start();
    const inner = await createSigner();
    front.behave(async ({ request }) => [await signFor(inner, request.csr), inner.rootPem]);
    const identity = open(front);
    await identity.ready();
    expect(identity.bundles.current().get('cluster.local')?.roots).toEqual([inner.rootPem]);
  });

  it('are all of a last part with several', async () => {
    const ca = await start();
    const next = await createSigner();
    ca.behave(async ({ request }, self) => [await signFor(self, request.csr), self.rootPem, self.rootPem + next.rootPem]);
    const identity = open(ca);
    await identity.ready();
    expect(identity.bundles.current().get('cluster.local')?.roots).toEqual([ca.rootPem, next.rootPem]);
  });
});

async function manyRoots(count: number): Promise<string> {
  const roots = await Promise.all(Array.from({ length: count }, async () => (await createTestAuthority()).rootPem));
  return roots.join('');
}
