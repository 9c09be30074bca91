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

  it.each<[name: string, value: string, read: Partial<IstioSettings>]>([
    ['CA_ADDR', 'ca.example.com:443', { host: 'ca.example.com', port: 443, serverName: 'ca.example.com' }],
    ['PROXY_CONFIG', '{"discoveryAddress": "istiod-canary.istio-system.svc:15012"}', { host: 'istiod-canary.istio-system.svc' }],
    ['PROXY_CONFIG', '{}', { host: 'istiod.istio-system.svc', port: 15_012 }],
    ['CA_PROVIDER', 'Citadel', {}],
    ['TRUST_DOMAIN', 'cluster.local', { trustDomain: 'cluster.local', uri: 'spiffe://cluster.local/ns/shop/sa/gateway' }],
    ['ISTIOD_SAN', 'istiod.other.svc', { host: 'istiod.istio-system.svc', serverName: 'istiod.other.svc' }],
    ['CA_ROOT_CA', '/etc/roots.pem', { rootCert: '/etc/roots.pem', isConfigMap: false }],
    ['CA_ROOT_CA', 'SYSTEM', { rootCert: undefined, isConfigMap: false }],
    ['PROV_CERT', '/etc/certs', { provCert: '/etc/certs' }],
    ['JWT_POLICY', 'third-party-jwt', { tokenFile: '/var/run/secrets/tokens/istio-token' }],
    ['JWT_POLICY', 'first-party-jwt', { tokenFile: '/var/run/secrets/kubernetes.io/serviceaccount/token' }],
    ['JWT_POLICY', 'none', { tokenFile: undefined }],
    ['TOKEN_AUDIENCES', 'istio-ca,other', { audience: 'istio-ca,other' }],
    ['SECRET_TTL', '1h30m', { ttlSeconds: 5400 }],
    ['SECRET_GRACE_PERIOD_RATIO', '0.25', { grace: { ratio: 0.25, jitter: 0.01 } }],
    ['SECRET_GRACE_PERIOD_RATIO_JITTER', '.05', { grace: { ratio: 0.5, jitter: 0.05 } }],
    ['WORKLOAD_RSA_KEY_SIZE', '4096', { keyType: 'rsa-4096' }],
    ['ECC_SIGNATURE_ALGORITHM', 'ECDSA', { keyType: 'ecdsa-p256' }],
    ['ECC_CURVE', 'P384', { keyType: 'rsa-2048' }],
    ['PKCS8_KEY', 'true', { keyType: 'rsa-2048' }],
    ['ISTIO_META_CLUSTER_ID', 'east', { headers: { clusterid: 'east' } }],
    ['ISTIO_META_CERT_SIGNER', 'corp', { certSigner: 'corp' }],
    ['CA_HEADER_TENANT', 'blue', { headers: { clusterid: 'Kubernetes', tenant: 'blue' } }],
  ])('reads %s=%s as the agent does', (name, value, expected) => {
    expect(read({}, { [name]: value })).toMatchObject(expected);
  });

  it('asks the CA of CA_ADDR before that of PROXY_CONFIG, and takes a curve only with ECDSA', () => {
    const env = { CA_ADDR: 'one:1', PROXY_CONFIG: 'no JSON', ECC_SIGNATURE_ALGORITHM: 'ECDSA', ECC_CURVE: 'P384' };
    expect(read({}, { ...env, WORKLOAD_RSA_KEY_SIZE: '1' })).toMatchObject({ host: 'one', keyType: 'ecdsa-p384' });
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
    [{ WORKLOAD_RSA_KEY_SIZE: '1024' }, 'WORKLOAD_RSA_KEY_SIZE'],
    [{ PROXY_CONFIG: 'discoveryAddress: a:1' }, 'PROXY_CONFIG is no JSON'],
    [{ PROXY_CONFIG: '{"discoveryAddress": "istiod:15010"}' }, /plaintext/],
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
    const asked = { OUTPUT_CERTS: '/out', FILE_MOUNTED_CERTS: '1', CREDENTIAL_FETCHER_TYPE: 'GoogleComputeEngine' };
    expect(passedOver(asked)).toHaveLength(3);
    expect(passedOver({ FILE_MOUNTED_CERTS: 'false', CREDENTIAL_FETCHER_TYPE: 'JWT', OUTPUT_CERTS: '' })).toEqual([]);
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
