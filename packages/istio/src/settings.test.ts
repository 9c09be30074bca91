import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { IstioIdentitySettings } from '@enmesh/core/issuance';
import { afterAll, describe, expect, it } from 'vitest';
import { parseGoDuration } from './go-duration.js';
import { passedOver, readIstioSettings, type IstioSettings } from './settings.js';

const asked = { workload: { namespace: 'shop', serviceAccount: 'gateway', labels: {} }, trustDomain: 'cluster.local' };
const read = (settings: IstioIdentitySettings = {}, env: NodeJS.ProcessEnv = {}): IstioSettings =>
  readIstioSettings({ ...asked, ...settings, env });
const invalid = (part: string | RegExp): unknown =>
  expect.objectContaining({
    code: 'ENMESH_ISSUANCE_SETTINGS_INVALID',
    message: typeof part === 'string' ? expect.stringContaining(part) : expect.stringMatching(part),
  });

const directory = mkdtempSync(join(tmpdir(), 'enmesh-settings-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe('readIstioSettings', () => {
  it('has the agent’s defaults', () => {
    expect(read()).toEqual({
      uri: 'spiffe://cluster.local/ns/shop/sa/gateway',
      trustDomain: 'cluster.local',
      host: 'istiod.istio-system.svc',
      port: 15_012,
      serverName: 'istiod.istio-system.svc',
      rootCert: '/var/run/secrets/istio/root-cert.pem',
      isConfigMap: true,
      tokenFile: '/var/run/secrets/tokens/istio-token',
      audience: 'istio-ca',
      ttlSeconds: 86_400,
      keyType: 'rsa-2048',
      provCert: undefined,
      headers: { clusterid: 'Kubernetes' },
      certSigner: undefined,
      grace: { ratio: 0.5, jitter: 0.01 },
    });
  });

  it('lets code win over the environment, and takes an empty variable for none', () => {
    const env = {
      CA_ADDR: 'env:1',
      ISTIOD_SAN: 'env',
      CA_ROOT_CA: '/env',
      SECRET_TTL: '1h',
      ISTIO_META_CLUSTER_ID: 'env',
      PROV_CERT: '/env',
      CA_HEADER_A: 'env',
      ECC_SIGNATURE_ALGORITHM: 'ECDSA',
    };
    const settings: IstioIdentitySettings = {
      address: 'code:2',
      serverName: 'code',
      rootCert: '/code',
      ttlSeconds: 60,
      clusterId: 'code',
      provCert: '/code',
      headers: { A: 'code' },
      keyType: 'rsa-2048',
    };
    expect(read(settings, env)).toMatchObject({
      host: 'code',
      port: 2,
      serverName: 'code',
      rootCert: '/code',
      ttlSeconds: 60,
      provCert: '/code',
      headers: { clusterid: 'code', a: 'code' },
      keyType: 'rsa-2048',
    });
    expect(read({}, env)).toMatchObject({
      host: 'env',
      port: 1,
      serverName: 'env',
      rootCert: '/env',
      ttlSeconds: 3600,
      provCert: '/env',
      headers: { clusterid: 'env', a: 'env' },
      keyType: 'ecdsa-p256',
    });
    expect(read({}, Object.fromEntries(Object.keys(env).map((name) => [name, ''])))).toMatchObject({
      port: 15_012,
      ttlSeconds: 86_400,
      keyType: 'rsa-2048',
    });
  });

  it.each([
    ['istiod.istio-system.svc:15012', 'istiod.istio-system.svc'],
    ['istiod.istio-system.svc.cluster.local:15012', 'istiod.istio-system.svc.cluster.local'],
    ['cert-manager-istio-csr.cert-manager.svc:443', 'cert-manager-istio-csr.cert-manager.svc'],
    ['10.0.0.1:15012', 'istiod.istio-system.svc'],
    ['[::1]:15012', 'istiod.istio-system.svc'],
    ['localhost:15012', 'istiod.istio-system.svc'],
  ])('expects of %s the name %s', (address, serverName) => {
    expect(read({ address }).serverName).toBe(serverName);
  });

  it('takes the root beside the client certificate, as the agent does, where there is one', () => {
    expect(read({ provCert: directory })).toMatchObject({ rootCert: '/var/run/secrets/istio/root-cert.pem', isConfigMap: true });
    writeFileSync(join(directory, 'root-cert.pem'), '');
    expect(read({ provCert: directory })).toMatchObject({ rootCert: join(directory, 'root-cert.pem'), isConfigMap: false });
    expect(read({ provCert: directory, rootCert: 'SYSTEM' })).toMatchObject({ rootCert: undefined, isConfigMap: false });
  });

  it.each<[NodeJS.ProcessEnv, string | RegExp]>([
    [{ CA_PROVIDER: 'GoogleCA' }, 'CA_PROVIDER is "GoogleCA", and only Citadel'],
    [{ TRUST_DOMAIN: 'other.example' }, /"other.example".*"cluster.local"/],
    [{ CA_ADDR: 'istiod.istio-system.svc:15010' }, /plaintext.*istiod.istio-system.svc:15012/],
    [{ CA_ADDR: 'https://istiod:15012' }, 'host:port'],
    [{ CA_ADDR: 'istiod' }, 'host:port'],
    [{ CA_ADDR: 'istiod:70000' }, 'host:port'],
    [{ ISTIOD_SAN: 'a b' }, 'ISTIOD_SAN'],
    [{ ISTIOD_SAN: '10.0.0.2' }, 'IP address'],
    [{ SECRET_TTL: '1d' }, 'SECRET_TTL'],
    [{ SECRET_TTL: '0s' }, 'SECRET_TTL'],
    [{ SECRET_TTL: '999999h' }, 'SECRET_TTL'],
    [{ ECC_SIGNATURE_ALGORITHM: 'ED25519' }, 'ECC_SIGNATURE_ALGORITHM'],
    [{ ECC_SIGNATURE_ALGORITHM: 'ECDSA', ECC_CURVE: 'P521' }, 'ECC_CURVE'],
    [{ SECRET_GRACE_PERIOD_RATIO: '1.5' }, 'SECRET_GRACE_PERIOD_RATIO'],
    [{ SECRET_GRACE_PERIOD_RATIO: 'half' }, 'SECRET_GRACE_PERIOD_RATIO'],
    [{ CA_HEADER_AUTHORIZATION: 'Bearer x' }, 'authorization'],
    [{ 'CA_HEADER_A-BIN': 'x' }, 'A-BIN'],
    [{ CA_HEADER_A: 'sécret' }, /value of the header A/],
    [Object.fromEntries(Array.from({ length: 40 }, (_, index) => [`CA_HEADER_${index}`, 'x'])), 'more than 32'],
  ])('refuses %j at once', (env, message) => {
    expect(() => read({}, env)).toThrow(invalid(message) as Error);
  });

  it('refuses what the settings cannot mean, and never quotes the value of a header', () => {
    expect(() => read({ keyType: 'ed25519' as 'rsa-2048' })).toThrow(invalid('keyType') as Error);
    expect(() => read({ ttlSeconds: Number.NaN })).toThrow(invalid('ttlSeconds') as Error);
    expect(() => read({ headers: { a: 'hidden\n' } })).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining('hidden') as string }),
    );
    expect(() => readIstioSettings({ ...asked, workload: { ...asked.workload, namespace: 'a/b' }, env: {} })).toThrow(
      expect.objectContaining({ code: 'ENMESH_IDENTITY_SPIFFE_ID_INVALID' }),
    );
  });

  it('names what the agent would do and this source does not', () => {
    expect(passedOver({ OUTPUT_CERTS: '/out', FILE_MOUNTED_CERTS: 'true', WORKLOAD_RSA_KEY_SIZE: '4096' })).toHaveLength(3);
    expect(passedOver({ FILE_MOUNTED_CERTS: 'false', WORKLOAD_RSA_KEY_SIZE: '2048', OUTPUT_CERTS: '' })).toEqual([]);
  });
});

describe('parseGoDuration', () => {
  it.each([
    ['24h0m0s', 86_400_000],
    ['1.5h', 5_400_000],
    ['90s', 90_000],
    ['1m30s', 90_000],
    ['300ms', 300],
    ['+1h', 3_600_000],
    ['2us', 0.002],
  ])('reads %s as %d ms', (text, ms) => {
    expect(parseGoDuration(text)).toBeCloseTo(ms, 6);
  });

  it.each(['', '24', '1d', '-1h', '0', '0s', 'h', '1h ', '1e3s', '.h', `${'1h'.repeat(40)}`])('does not read %j', (text) => {
    expect(parseGoDuration(text)).toBeUndefined();
  });
});
