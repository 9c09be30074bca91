import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createMesh, noticeEvents, type Mesh, type NoticeEvent, type X509Svid } from '@enmesh/core';
import type { IstioIdentitySettings, PlatformIdentity } from '@enmesh/core/issuance';
import { parsePem, readCertificateFacts } from '@enmesh/core/x509';
import { createIstioIdentity } from '@enmesh/istio';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { open } from '../support/house.js';
import { kubernetesToken, ownToken, publishedRoot, type IstiodReady } from '../support/istiod.js';
import { startRealServer } from '../support/real-server.js';
import { until } from '../support/waiting.js';
import { peerAuthentication, serviceEntry } from '../support/documents.js';

const server = await startRealServer<IstiodReady>('istiod');

describe.skipIf(server === undefined)('a real istiod as the source of identity', () => {
  const istiod = server?.ready as IstiodReady;
  const directory = mkdtempSync(join(tmpdir(), 'enmesh-istiod-'));
  let notices: NoticeEvent[] = [];
  let stops: (() => unknown)[] = [];
  let files = 0;

  beforeEach(() => {
    notices = [];
    stops = [noticeEvents.subscribe((notice) => void notices.push(notice))];
  });
  afterEach(async () => {
    for (const stop of stops.reverse()) await stop();
  });
  afterAll(async () => {
    await server?.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  const told = (kind: NoticeEvent['kind']): NoticeEvent[] => notices.filter((notice) => notice.kind === kind);
  const place = (text: string): string => {
    const path = join(directory, `file-${files++}`);
    writeFileSync(path, text);
    return path;
  };
  const tokenFile = (serviceAccount: string, more: { audience?: string; lifeSeconds?: number } = {}): string =>
    place(ownToken(istiod, { namespace: 'shop', serviceAccount, ...more }));
  const settingsOf = (settings: IstioIdentitySettings): IstioIdentitySettings => ({
    address: istiod.caAddress,
    rootCert: istiod.rootCert,
    ttlSeconds: 3600,
    ...settings,
  });
  const identify = async (serviceAccount: string, settings: IstioIdentitySettings): Promise<PlatformIdentity> => {
    const workload = { namespace: 'shop', serviceAccount, labels: {} };
    const identity = await createIstioIdentity({ workload, trustDomain: 'cluster.local', env: {}, ...settingsOf(settings) });
    stops.push(() => identity.close());
    return identity;
  };
  const failure = async (identity: PlatformIdentity): Promise<NoticeEvent> => {
    identity.ready().catch(() => undefined);
    await until(() => told('identity-renewal-failed').length > 0);
    return told('identity-renewal-failed')[0] as NoticeEvent;
  };
  /** The SVID as files, as OUTPUT_CERTS of an agent would leave it. */
  const provided = (svid: X509Svid): string => {
    const folder = mkdtempSync(join(directory, 'provided-'));
    writeFileSync(join(folder, 'cert-chain.pem'), svid.chain);
    writeFileSync(join(folder, 'key.pem'), svid.privateKey.export({ type: 'pkcs8', format: 'pem' }));
    return folder;
  };

  it.each(['rsa-2048', 'ecdsa-p256', 'ecdsa-p384'] as const)('signs for a token, with a key of type %s', async (keyType) => {
    const identity = await identify('gateway', { tokenFile: tokenFile('gateway'), keyType });
    await identity.ready();
    const svid = identity.svid.current();
    expect(svid.id.uri).toBe('spiffe://cluster.local/ns/shop/sa/gateway');
    // Two minutes in the past for clocks that are late; the life asked for counts from now.
    expect(svid.notAfter - Date.now()).toBeGreaterThan(3_590_000 - 60_000);
    expect(Date.now() - svid.notBefore).toBeGreaterThan(100_000);
    const chain = parsePem(svid.chain, 'CERTIFICATE').map(readCertificateFacts);
    expect(chain.map(({ isCa }) => isCa)).toEqual([false, true]);
    const roots = identity.bundles.current().get('cluster.local')?.roots ?? [];
    expect(roots.map((root) => parsePem(root, 'CERTIFICATE')[0])).toEqual(
      parsePem(readFileSync(istiod.rootCert, 'utf8'), 'CERTIFICATE'),
    );
  });

  it('signs for a token of Kubernetes, with the root that it publishes for mounting', async () => {
    const token = await kubernetesToken(istiod, { namespace: 'shop', serviceAccount: 'pod' });
    const rootCert = place(await publishedRoot(istiod, 'shop'));
    const identity = await identify('pod', { tokenFile: place(token), rootCert, keyType: 'ecdsa-p256' });
    await identity.ready();
    expect(identity.svid.current().id.uri).toBe('spiffe://cluster.local/ns/shop/sa/pod');
  });

  it('signs for a client certificate without a token, first of PROV_CERT, then the SVID itself', async () => {
    const first = await identify('product', { tokenFile: tokenFile('product') });
    await first.ready();
    const provCert = provided(first.svid.current());
    const identity = await identify('product', { tokenFile: join(directory, 'none'), provCert, ttlSeconds: 8 });
    await identity.ready();
    const { serial } = identity.svid.current();
    rmSync(provCert, { recursive: true });
    await until(() => identity.svid.current().serial !== serial);
    expect(identity.svid.current().id.uri).toBe('spiffe://cluster.local/ns/shop/sa/product');
    expect(told('identity-doubtful')[0]?.message).toContain('going on with the client certificate');
    expect(told('identity-renewal-failed')).toEqual([]);
  });

  it('goes on with the SVID where the token has run out', async () => {
    const file = tokenFile('stock');
    const identity = await identify('stock', { tokenFile: file, ttlSeconds: 10 });
    await identity.ready();
    writeFileSync(file, ownToken(istiod, { namespace: 'shop', serviceAccount: 'stock', lifeSeconds: -60 }));
    const { serial } = identity.svid.current();
    await until(() => identity.svid.current().serial !== serial);
    expect(told('identity-doubtful')[0]?.message).toMatch(/did not believe the token .*; going on with the present SVID/);
  });

  it('is not locked out by an expired client certificate, nor by a foreign one: the token does', async () => {
    const short = await identify('late', { tokenFile: tokenFile('late'), ttlSeconds: 1 });
    await short.ready();
    const svid = short.svid.current();
    await short.close();
    await until(() => Date.now() > svid.notAfter + 100);
    const expired = await identify('late', { tokenFile: tokenFile('late'), provCert: provided(svid) });
    await expired.ready();
    const { createTestAuthority } = await import('@enmesh/core/testing');
    const foreign = await (await createTestAuthority()).issue({ namespace: 'shop', serviceAccount: 'late' });
    const other = await identify('late', { tokenFile: tokenFile('late'), provCert: provided(foreign) });
    await other.ready();
    expect(told('identity-renewal-failed')).toEqual([]);
    // The proof that it would lock out: alone, the foreign certificate does not even get an answer.
    const alone = await identify('late', { tokenFile: join(directory, 'none'), provCert: provided(foreign) });
    expect((await failure(alone)).code).toBe('ENMESH_ISSUANCE_CA_UNREACHABLE');
  });

  it('gives the life it gives by itself where more than its maximum was asked for', async () => {
    const identity = await identify('gateway', { tokenFile: tokenFile('gateway'), ttlSeconds: 24 * 3600 });
    await identity.ready();
    expect(identity.svid.current().notAfter - Date.now()).toBeLessThan(3_700_000);
    expect(told('identity-doubtful')[0]?.message).toContain('its maximum is shorter');
  });

  it.each([
    ['of another audience', { audience: 'elsewhere' }],
    ['that has expired', { lifeSeconds: -60 }],
  ])('does not believe a token %s, and the message says what to look at', async (_what, more) => {
    const notice = await failure(await identify('gateway', { tokenFile: tokenFile('gateway', more) }));
    expect(notice.code).toBe('ENMESH_ISSUANCE_CA_REFUSED');
    expect(notice.message).toMatch(/UNAUTHENTICATED: request authenticate failure.*audience \(istio-ca\)/);
  });

  it('is not believed to have answered for somebody else: the SAN is that of the token', async () => {
    const notice = await failure(await identify('gateway', { tokenFile: tokenFile('admin') }));
    expect(notice.code).toBe('ENMESH_ISSUANCE_CA_ANSWER');
    expect(notice.message).toContain('names spiffe://cluster.local/ns/shop/sa/admin');
  });

  it('is asked at its TLS port only', async () => {
    const notice = await failure(
      await identify('gateway', { tokenFile: tokenFile('gateway'), address: istiod.plaintextAddress }),
    );
    expect(notice.code).toBe('ENMESH_ISSUANCE_CA_UNREACHABLE');
  });

  it('is asked under the name in its certificate only', async () => {
    const notice = await failure(
      await identify('gateway', { tokenFile: tokenFile('gateway'), serverName: 'istiod.elsewhere.svc' }),
    );
    expect(notice.message).toMatch(/not one of istiod\.elsewhere\.svc/);
  });

  it('rotates underneath two meshes that talk, and no request fails', async () => {
    const start = async (serviceAccount: string, yaml: string): Promise<Mesh> => {
      const config = mkdtempSync(join(directory, 'mesh-'));
      mkdirSync(join(config, 'enmesh'));
      writeFileSync(join(config, 'mesh.yaml'), yaml);
      const identity = { istio: settingsOf({ tokenFile: tokenFile(serviceAccount), ttlSeconds: 6, keyType: 'ecdsa-p256' }) };
      const mesh = await createMesh({
        namespace: 'shop',
        serviceAccount,
        labels: { app: serviceAccount },
        config,
        identity,
        log: false,
        env: {},
      });
      stops.push(() => mesh.close());
      await mesh.ready();
      return mesh;
    };
    const product = await start('product', peerAuthentication('STRICT'));
    const callers = new Set<string | undefined>();
    const port = await open(
      product.createServer((request, response) => {
        callers.add((request as unknown as { enmesh: { peer?: { uri: string } } }).enmesh.peer?.uri);
        response.end('ok');
      }),
    );
    const gateway = await start('gateway', `${peerAuthentication('STRICT')}---${serviceEntry({ name: 'product', port })}`);
    let good = 0;
    const failed: unknown[] = [];
    const end = Date.now() + 16_000;
    while (Date.now() < end) {
      const next = new Promise((wake) => setTimeout(wake, 50));
      try {
        const { statusCode, body } = await gateway.request('http://product.shop.svc.cluster.local/');
        if (statusCode === 200 && (await body.text()) === 'ok') good += 1;
        else failed.push(statusCode);
      } catch (error) {
        failed.push(error);
      }
      await next;
    }
    const rotations = (name: string): number =>
      told('identity-rotated').filter(({ message }) => message.includes(`/sa/${name} `)).length - 1;
    console.log(
      `istiod: ${good} requests good, ${failed.length} failed, ${rotations('product')} + ${rotations('gateway')} rotations in 16 s`,
    );
    expect(failed).toEqual([]);
    expect(good).toBeGreaterThan(100);
    expect(rotations('product')).toBeGreaterThan(3);
    expect(rotations('gateway')).toBeGreaterThan(3);
    expect([...callers]).toEqual(['spiffe://cluster.local/ns/shop/sa/gateway']);
    expect(told('identity-renewal-failed')).toEqual([]);
  });
});
