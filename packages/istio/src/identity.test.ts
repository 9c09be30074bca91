import { randomBytes } from 'node:crypto';
import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { noticeEvents, type NoticeEvent, type IstioIdentitySettings, type PlatformIdentity } from '@enmesh/core/issuance';
import { formatPem, issueCertificate, parseCsr, parsePem, rootOptions } from '@enmesh/core/x509';
import { createTestAuthority, createTestClock, type TestClock } from '@enmesh/core/testing';
import { status } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  CaRefusal,
  createSigner,
  good,
  newKey,
  signFor,
  startTestCa,
  type TestCa,
  type TestCaOptions,
} from '../../../test/support/istio-ca.js';
import { createIstioIdentity } from './index.js';
import { openIstioIdentity, type IstioIdentityWorld } from './identity.js';

const uri = 'spiffe://cluster.local/ns/shop/sa/gateway';
const hour = 3_600_000;
const asked = { workload: { namespace: 'shop', serviceAccount: 'gateway', labels: {} }, trustDomain: 'cluster.local' };

let notices: NoticeEvent[] = [];
let stops: (() => unknown)[] = [];

beforeEach(() => {
  notices = [];
  stops = [noticeEvents.subscribe((notice) => void notices.push(notice))];
});
afterEach(async () => {
  for (const stop of stops.reverse()) await stop();
});

const start = async (options: TestCaOptions = {}): Promise<TestCa> => {
  const ca = await startTestCa(options);
  stops.push(() => ca.close());
  return ca;
};

/** Pauses between tries pass at once; everything else keeps its time. */
const soon: IstioIdentityWorld = {
  random: () => 0.5,
  timer(run, ms) {
    const handle = setTimeout(run, ms < 5_000 ? 0 : ms);
    return () => clearTimeout(handle);
  },
};

const open = (
  ca: Pick<TestCa, 'address' | 'rootFile' | 'tokenFile'>,
  settings: IstioIdentitySettings = {},
  world = soon,
): PlatformIdentity => {
  const { address, rootFile: rootCert, tokenFile } = ca;
  const identity = openIstioIdentity(
    { ...asked, env: {}, address, rootCert, tokenFile, keyType: 'ecdsa-p256', ...settings },
    world,
  );
  stops.push(() => identity.close());
  return identity;
};

/** Life is an hour of a clock that the test moves. */
const openOnClock = (ca: TestCa, env: NodeJS.ProcessEnv = {}): { identity: PlatformIdentity; clock: TestClock } => {
  const clock = createTestClock(Date.now());
  const { address, rootFile: rootCert, tokenFile } = ca;
  const identity = openIstioIdentity(
    { ...asked, address, rootCert, tokenFile, env, clock: clock.now, keyType: 'ecdsa-p256', ttlSeconds: 3600 },
    { random: () => 0.5, timer: clock.timer },
  );
  stops.push(() => identity.close());
  return { identity, clock };
};

const until = async (isSo: () => boolean): Promise<void> => {
  for (let tries = 0; !isSo(); tries++) {
    if (tries > 1000) throw new Error('it never came');
    await new Promise((wake) => setTimeout(wake, 10));
  }
};
const told = (kind: NoticeEvent['kind']): NoticeEvent[] => notices.filter((notice) => notice.kind === kind);

/** The first failure that is told. */
const failure = async (identity: PlatformIdentity): Promise<NoticeEvent> => {
  identity.ready().catch(() => undefined);
  await until(() => told('identity-renewal-failed').length > 0);
  const [first] = told('identity-renewal-failed');
  if (first === undefined) throw new Error('nothing was told');
  return first;
};

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
    stops.push(() => identity.close());
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
    ['ecdsa-p256', { namedCurve: 'prime256v1' }],
    ['ecdsa-p384', { namedCurve: 'secp384r1' }],
  ] as const)('makes a key of type %s', async (keyType, details) => {
    const identity = open(await start(), { keyType });
    await identity.ready();
    expect(identity.svid.current().privateKey.asymmetricKeyDetails).toMatchObject(details);
  });

  it('makes a new key and reads the token again for each certificate', async () => {
    const ca = await start();
    const identity = open(ca, { ttlSeconds: 1 });
    await identity.ready();
    const first = identity.svid.current();
    writeFileSync(ca.tokenFile, 'second.token.y');
    await until(() => ca.calls.length >= 2 && identity.svid.current() !== first);
    expect(ca.calls[1]?.authorization).toBe('Bearer second.token.y');
    expect(identity.svid.current().privateKey.equals(first.privateKey)).toBe(false);
  });

  it('renews at the ratio of SECRET_GRACE_PERIOD_RATIO', async () => {
    const ca = await start();
    const env = { SECRET_GRACE_PERIOD_RATIO: '0.25', SECRET_GRACE_PERIOD_RATIO_JITTER: '0.001' };
    const { identity, clock } = openOnClock(ca, env);
    await identity.ready();
    clock.advance(0.75 * hour - 5_000);
    expect(ca.calls).toHaveLength(1);
    clock.advance(10_000);
    await until(() => ca.calls.length === 2);
  });

  it('ends at close: no call, no timer, no SVID', async () => {
    const ca = await start();
    const identity = open(ca, { ttlSeconds: 1 });
    await identity.ready();
    await identity.close();
    const { length } = ca.calls;
    await new Promise((wake) => setTimeout(wake, 900));
    expect(ca.calls).toHaveLength(length);
    expect(() => identity.svid.current()).toThrow(expect.objectContaining({ code: 'ENMESH_IDENTITY_NONE' }));
    await expect(identity.ready()).rejects.toMatchObject({ code: 'ENMESH_IDENTITY_NONE' });
  });
});

describe('proving who asks', () => {
  it.each([
    ['absent', undefined, 'it is not there'],
    ['empty', ' \n', 'it is empty'],
    ['no token', 'two words', 'what it holds is none'],
    ['too big', 'x'.repeat(100_000), 'it is bigger than'],
  ])('says so when the token is %s and nothing else is there', async (_what, content, reason) => {
    const ca = await start();
    if (content === undefined) rmSync(ca.tokenFile);
    else writeFileSync(ca.tokenFile, content);
    const notice = await failure(open(ca));
    expect(notice.code).toBe('ENMESH_ISSUANCE_CREDENTIAL_MISSING');
    expect(notice.message).toContain(`no token in ${ca.tokenFile}: ${reason}`);
    expect(notice.message).not.toContain('two words');
    expect(ca.calls).toHaveLength(0);
  });

  it('goes on by client certificate when the token is gone, and says so', async () => {
    const signer = await createSigner();
    const byToken = await start({ signer });
    const byCertificate = await start({ signer, clientCertificate: 'required' });
    writeProvided(byCertificate, await createLeaf(signer));
    rmSync(byCertificate.tokenFile);
    const identity = open(byCertificate, { provCert: byCertificate.directory, ttlSeconds: 1 });
    await identity.ready();
    expect(byCertificate.calls[0]?.authorization).toBeUndefined();
    const { serial } = identity.svid.current();
    // From then on the SVID itself is the proof.
    await until(() => byCertificate.calls.some(({ clientSerial }) => clientSerial === serial));
    expect(told('identity-doubtful')[0]?.message).toMatch(
      /no token in .*: it is not there; going on with the client certificate/,
    );
    expect(byToken.calls).toHaveLength(0);
  });

  it('never shows a certificate beside a token: the certificate would win', async () => {
    const ca = await start();
    writeProvided(ca, await createLeaf(ca));
    const identity = open(ca, { provCert: ca.directory, ttlSeconds: 1 });
    await identity.ready();
    await until(() => ca.calls.length >= 2);
    for (const { authorization, clientSerial } of ca.calls)
      expect([authorization, clientSerial]).toEqual(['Bearer first.token.x', undefined]);
  });

  it('is not locked out by an expired client certificate: the token does', async () => {
    const ca = await start();
    writeProvided(ca, await createLeaf(ca, -2 * hour, -hour));
    const identity = open(ca, { provCert: ca.directory });
    await identity.ready();
    expect(told('identity-doubtful')[0]?.message).toMatch(/no client certificate in .*: it expired at/);
  });

  it('is not locked out by a foreign client certificate: without it, by the token that comes back', async () => {
    const ca = await start({ clientCertificate: 'required' });
    writeProvided(ca, await createLeaf(await createSigner()));
    rmSync(ca.tokenFile);
    const notice = await failure(open(ca, { provCert: ca.directory }));
    expect(notice.code).toBe('ENMESH_ISSUANCE_CA_UNREACHABLE');
    const other = await start();
    writeProvided(other, await createLeaf(await createSigner()));
    const identity = open(other, { provCert: other.directory });
    await identity.ready();
    expect(other.calls[0]).toMatchObject({ authorization: 'Bearer first.token.x', clientSerial: undefined });
  });

  it('shows the SVID it holds where the token is not believed any more', async () => {
    const ca = await start({ clientCertificate: 'optional' });
    const { identity, clock } = openOnClock(ca);
    await identity.ready();
    ca.behave((call, self) => {
      if (call.authorization !== undefined) throw new CaRefusal(status.UNAUTHENTICATED, 'request authenticate failure');
      return good(call, self);
    });
    writeFileSync(ca.tokenFile, 'worn.out.token');
    const { serial } = identity.svid.current();
    clock.advance(0.5 * hour + 5_000);
    await until(() => identity.svid.current().serial !== serial);
    expect(ca.calls.map(({ clientSerial }) => clientSerial)).toEqual([undefined, undefined, serial]);
    expect(told('identity-doubtful')[0]?.message).toMatch(/did not believe the token of .*; going on with the present SVID/);
  });
});

describe('a CA that fails or refuses', () => {
  it.each([
    status.CANCELLED,
    status.DEADLINE_EXCEEDED,
    status.RESOURCE_EXHAUSTED,
    status.ABORTED,
    status.INTERNAL,
    status.UNAVAILABLE,
  ])('is asked five times in one attempt when it answers with code %i, as the agent does', async (code) => {
    const ca = await start();
    let left = 4;
    ca.behave((call, self) => {
      if (left-- > 0) throw new CaRefusal(code, 'not now');
      return good(call, self);
    });
    await open(ca).ready();
    expect(ca.calls).toHaveLength(5);
    expect(told('identity-renewal-failed')).toHaveLength(0);
  });

  it('waits 100 ms, doubled each time and spread by a tenth, between tries', async () => {
    const ca = await start();
    ca.behave(() => {
      throw new CaRefusal(status.UNAVAILABLE, 'not now');
    });
    const pauses: number[] = [];
    const timer: IstioIdentityWorld['timer'] = (run, ms) => {
      pauses.push(ms);
      const handle = setTimeout(run, ms < 5_000 ? 0 : ms);
      return () => clearTimeout(handle);
    };
    await failure(open(ca, {}, { random: () => 0.75, timer }));
    const short = pauses.filter((ms) => ms < 1_000 && ms !== 875);
    expect(short.slice(0, 4).map(Math.round)).toEqual([105, 210, 420, 840]);
    expect(ca.calls).toHaveLength(5);
  });

  it.each([
    [status.UNAUTHENTICATED, 'ENMESH_ISSUANCE_CA_REFUSED', /did not believe the token of .*istio-token.*audience \(istio-ca\)/],
    [status.PERMISSION_DENIED, 'ENMESH_ISSUANCE_CA_REFUSED', /did not believe the token/],
    [status.INVALID_ARGUMENT, 'ENMESH_ISSUANCE_CA_REFUSED', /did not accept the request/],
    [status.UNIMPLEMENTED, 'ENMESH_ISSUANCE_CA_REFUSED', /no certificate service .* port 15012/],
    [status.UNKNOWN, 'ENMESH_ISSUANCE_CA_REFUSED', /failed \(UNKNOWN/],
  ])('says what to look at when it answers with code %i, and asks once', async (code, expected, message) => {
    const ca = await start();
    ca.behave(() => {
      throw new CaRefusal(code, `secret ${'first.token.x'.repeat(10)}`);
    });
    const notice = await failure(open(ca));
    expect(notice).toMatchObject({ code: expected, message: expect.stringMatching(message) as string });
    expect(notice.message).not.toContain('first.token.x');
    expect(ca.calls).toHaveLength(1);
  });

  it('names the port where there is no CA service', async () => {
    const notice = await failure(open(await start({ withoutService: true })));
    expect(notice).toMatchObject({
      code: 'ENMESH_ISSUANCE_CA_REFUSED',
      message: expect.stringContaining('UNIMPLEMENTED') as string,
    });
  });

  it('takes the life that the CA gives where the one asked for is above its maximum, tells it once and keeps to it', async () => {
    const ca = await start();
    ca.behave(({ request }, self) => {
      if (request.validity_duration > 7200)
        throw new CaRefusal(status.INVALID_ARGUMENT, 'requested TTL 24h0m0s is greater than the max allowed TTL 2h0m0s');
      return signFor(self, request.csr, { life: 1_000 }).then((leaf) => [leaf, self.rootPem]);
    });
    const identity = open(ca);
    await identity.ready();
    await until(() => ca.calls.length >= 4);
    expect(ca.calls.map(({ request }) => request.validity_duration).slice(0, 4)).toEqual([86_400, 0, 0, 0]);
    expect(told('identity-doubtful')).toHaveLength(1);
  });

  it('is not believed under another name', async () => {
    const ca = await start({ serverNames: ['elsewhere.example'] });
    const notice = await failure(open(ca));
    expect(notice).toMatchObject({
      code: 'ENMESH_ISSUANCE_CA_UNREACHABLE',
      message: expect.stringMatching(/not one of istiod\.istio-system\.svc; .*ISTIOD_SAN/) as string,
    });
    expect(ca.calls).toHaveLength(0);
    await open(ca, { serverName: 'elsewhere.example' }).ready();
  });

  it('is not believed under another root', async () => {
    const ca = await start();
    const notice = await failure(open({ ...ca, rootFile: (await start()).rootFile }));
    expect(notice).toMatchObject({
      code: 'ENMESH_ISSUANCE_CA_UNREACHABLE',
      message: expect.stringContaining('CA_ROOT_CA') as string,
    });
    expect(ca.calls).toHaveLength(0);
  });

  it.each([
    ['is not there', undefined],
    ['holds nothing', ''],
    ['holds no certificate', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'],
  ])('is not asked when the file of its root %s', async (_what, content) => {
    const ca = await start();
    if (content === undefined) rmSync(ca.rootFile);
    else writeFileSync(ca.rootFile, content);
    const notice = await failure(open(ca));
    expect(notice).toMatchObject({
      code: 'ENMESH_ISSUANCE_CA_UNREACHABLE',
      message: expect.stringContaining(ca.rootFile) as string,
    });
    expect(ca.calls).toHaveLength(0);
  });

  it('that accepts and says nothing is given up after its time', async () => {
    const sockets: Socket[] = [];
    const silent: Server = createServer((socket) => void sockets.push(socket.on('error', () => undefined)));
    await new Promise<void>((done) => silent.listen(0, '127.0.0.1', done));
    stops.push(() => {
      for (const socket of sockets) socket.destroy();
      silent.close();
    });
    const ca = await start();
    const address = `127.0.0.1:${(silent.address() as AddressInfo).port}`;
    const notice = await failure(open({ ...ca, address }, {}, { ...soon, callTimeoutMs: 60 }));
    expect(notice).toMatchObject({
      code: 'ENMESH_ISSUANCE_CA_UNREACHABLE',
      message: expect.stringContaining('DEADLINE_EXCEEDED') as string,
    });
  });

  it('that nobody can reach is told, and asked again by the rotation', async () => {
    const ca = await start();
    const { port } = ca;
    await ca.close();
    const notice = await failure(open({ ...(await start()), address: `127.0.0.1:${port}` }));
    expect(notice).toMatchObject({
      code: 'ENMESH_ISSUANCE_CA_UNREACHABLE',
      message: expect.stringMatching(/ECONNREFUSED.*trying again/) as string,
    });
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

async function createLeaf(
  signer: { rootPem: string; key: Parameters<typeof rootOptions>[1] },
  from = -hour,
  life = hour,
): Promise<{ chain: string; key: string }> {
  const key = newKey();
  const chain = await issueCertificate({
    key,
    issuer: signer.rootPem,
    issuerKey: signer.key,
    uriSans: [uri],
    isCa: false,
    keyUsage: ['digitalSignature'],
    notBefore: Date.now() + from,
    notAfter: Date.now() + life,
  });
  return { chain, key: key.export({ type: 'pkcs8', format: 'pem' }) as string };
}

function writeProvided(ca: TestCa, { chain, key }: { chain: string; key: string }): void {
  writeFileSync(join(ca.directory, 'cert-chain.pem'), chain);
  writeFileSync(join(ca.directory, 'key.pem'), key);
}

async function manyRoots(count: number): Promise<string> {
  const roots = await Promise.all(Array.from({ length: count }, async () => (await createTestAuthority()).rootPem));
  return roots.join('');
}
