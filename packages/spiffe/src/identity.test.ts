import { createServer, type Server } from 'node:net';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { noticeEvents, unrefTimer, type NoticeEvent, type PlatformIdentity, type Timer } from '@enmesh/core/issuance';
import { createTestAuthority, createTestClock } from '@enmesh/core/testing';
import { issueCertificate, rootOptions, svidOptions } from '@enmesh/core/x509';
import { createFakeWorkloadApi, derOf, type FakeWorkloadApi, type X509Entry } from '../../../test/support/workload-api.js';
import { createSpiffeIdentity, type SpiffeIdentityOptions } from './identity.js';
import { untilHolds } from '../../../test/support/waiting.js';

const none = expect.objectContaining({ code: 'ENMESH_IDENTITY_NONE' }) as unknown;
const workload = { namespace: 'shop', serviceAccount: 'web', labels: {} };
const web = { namespace: 'shop', serviceAccount: 'web' };
const second = { namespace: 'shop', serviceAccount: 'second', hint: 'second' };

let api: FakeWorkloadApi;
let notices: NoticeEvent[];
const ends: (() => unknown)[] = [];

beforeEach(async () => {
  notices = [];
  api = await createFakeWorkloadApi();
  ends.push(
    () => api.stop(),
    noticeEvents.subscribe((notice) => void notices.push(notice)),
  );
});
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** Pauses of seconds are over in a twentieth. */
const hasty: Timer = (run, ms) => unrefTimer(run, ms / 20);
const start = async (options: Partial<SpiffeIdentityOptions> = {}): Promise<PlatformIdentity> => {
  const fixed = { socket: api.uri, workload, trustDomain: 'td.test', env: {}, timer: hasty };
  const identity = await createSpiffeIdentity({ ...fixed, ...options });
  ends.push(() => identity.close());
  return identity;
};
const told = (kind: NoticeEvent['kind']) => notices.filter((notice) => notice.kind === kind);
const replaced = (entry: Partial<X509Entry>) => {
  const message = api.message();
  return { ...message, svids: message.svids.map((svid, index) => (index === 0 ? { ...svid, ...entry } : svid)) };
};

describe('createSpiffeIdentity', () => {
  it('holds the first identity of the first message with its bundles, sending the security header', async () => {
    const uri = await api.register(web);
    await api.register(second);
    api.federate('other.test', await createTestAuthority({ trustDomain: 'other.test' }));
    const identity = await start();
    expect(() => identity.svid.current()).toThrow(none);
    expect(() => identity.bundles.current()).toThrow(none);
    await identity.ready();
    expect(identity.svid.current().id.uri).toBe(uri);
    expect([...identity.bundles.current().keys()]).toEqual(['td.test', 'other.test']);
    expect(identity.bundles.current().get('td.test')?.roots).toEqual([api.authority.rootPem]);
    expect(identity.description).toBe(`the SPIFFE Workload API at ${api.uri}`);
    expect([api.headerless, told('identity-rotated').length]).toEqual([0, 1]);
  });

  it('takes the identity with the hint asked for', async () => {
    await api.register(web);
    const uri = await api.register(second);
    const identity = await start({ hint: 'second', workload: { ...workload, serviceAccount: 'second' } });
    await identity.ready();
    expect(identity.svid.current().id.uri).toBe(uri);
    api.remove(uri);
    await untilHolds(() => expect(told('identity-lost')).toHaveLength(1));
    expect(() => identity.svid.current()).toThrow(/no SVID has the hint "second" any more/);
  });

  it('speaks TCP too', async () => {
    const tcp = await createFakeWorkloadApi({ tcp: true });
    ends.push(() => tcp.stop());
    await tcp.register(web);
    const identity = await start({ socket: tcp.uri });
    await identity.ready();
    expect(identity.svid.current().id.uri).toBe('spiffe://td.test/ns/shop/sa/web');
  });

  it('rotates when its own serial changes, and tells nobody when only another identity was renewed', async () => {
    const uri = await api.register(web);
    const other = await api.register(second);
    const identity = await start();
    await identity.ready();
    const heard: string[] = [];
    const heardBundles = vi.fn<() => void>();
    identity.svid.watch(({ serial }) => void heard.push(serial));
    identity.bundles.watch(heardBundles);
    const held = identity.svid.current();
    await api.rotate(other);
    await api.rotate(other);
    await api.rotate(uri);
    await untilHolds(() => expect(heard).toHaveLength(1));
    expect(identity.svid.current()).not.toBe(held);
    expect(heardBundles).not.toHaveBeenCalled();
    expect(told('identity-rotated')).toHaveLength(2);
  });

  it('follows the schedule of short-lived SVIDs without a gap', async () => {
    await api.register({ ...web, ttlMs: 2000 });
    const identity = await start();
    await identity.ready();
    const serials = new Set<string>();
    while (serials.size < 3) {
      serials.add(identity.svid.current().serial);
      await new Promise((done) => setTimeout(done, 10));
    }
    expect(told('identity-rotated').length).toBeGreaterThanOrEqual(3);
  });

  it('takes up a new root and a federated domain, and lets go of what is no longer there', async () => {
    await api.register(web);
    const identity = await start();
    await identity.ready();
    const other = await createTestAuthority({ trustDomain: 'other.test' });
    api.federate('other.test', other);
    await untilHolds(() => expect(identity.bundles.current().has('other.test')).toBe(true));
    const next = await createTestAuthority({ trustDomain: 'td.test' });
    api.override(replaced({ bundle: derOf(api.authority.rootPem + next.rootPem) }));
    await untilHolds(() => expect(identity.bundles.current().get('td.test')?.roots).toHaveLength(2));
    api.override(undefined);
    api.federate('other.test', undefined);
    await untilHolds(() => expect([...identity.bundles.current().keys()]).toEqual(['td.test']));
    expect(told('identity-rotated')).toHaveLength(1);
  });

  it('waits while the agent knows of no identity, which is an alarm after 10 seconds only', async () => {
    const clock = createTestClock(Date.now());
    const pauses: number[] = [];
    const identity = await start({ clock: clock.now, timer: (run, ms) => (pauses.push(ms), clock.timer(run, ms)) });
    await untilHolds(() => expect(told('identity-waiting')).toHaveLength(1));
    expect(notices[0]).toMatchObject({ level: 'info', code: 'ENMESH_ISSUANCE_WORKLOAD_API' });
    expect(notices[0]?.message).toMatch(/register an entry whose selectors match/);
    // After 1, 2, 3 and 4 seconds.
    for (let pause = 1; pause <= 4; pause++) {
      await untilHolds(() => expect(pauses).toContain(pause * 1000));
      clock.advance(pause * 1000);
      await untilHolds(() => expect(api.opened).toBe(pause + 1));
    }
    await untilHolds(() => expect(told('identity-waiting').map(({ level }) => level)).toEqual(['info', 'warn']));
    await untilHolds(() => expect(pauses).toContain(5000));
    await api.register(web);
    clock.advance(5000);
    await identity.ready();
  });

  it('stops using its SVID when the agent takes it back, and takes it up again later', async () => {
    const uri = await api.register(web);
    const identity = await start();
    await identity.ready();
    api.remove(uri);
    await untilHolds(() => expect(told('identity-lost')).toHaveLength(1));
    expect(() => identity.svid.current()).toThrow(none);
    expect(() => identity.bundles.current()).toThrow(none);
    const ready = identity.ready();
    await api.register(web);
    await ready;
    expect(identity.svid.current().id.uri).toBe(uri);
  });

  it('keeps its SVID over a restart of the agent and opens the stream again', async () => {
    const uri = await api.register(web);
    const identity = await start();
    await identity.ready();
    const { serial } = identity.svid.current();
    api.kill();
    await untilHolds(() => expect(told('identity-renewal-failed')).not.toHaveLength(0));
    expect(identity.svid.current().serial).toBe(serial);
    await api.start();
    await api.rotate(uri);
    await untilHolds(() => expect(identity.svid.current().serial).not.toBe(serial));
    expect(told('identity-lost')).toEqual([]);
  });

  it('opens the stream again at once when the agent ends it well', async () => {
    await api.register(web);
    const pauses: number[] = [];
    const identity = await start({ timer: (run, ms) => (pauses.push(ms), hasty(run, ms)) });
    await identity.ready();
    await new Promise((done) => setTimeout(done, 1100));
    pauses.length = 0;
    api.endStreams();
    await untilHolds(() => expect(api.opened).toBe(2));
    expect(pauses).toContain(0);
    expect(pauses).not.toContain(1000);
  });

  it.each([
    [3, /will not be asked again/],
    [12, /does not know FetchX509SVID/],
  ])('asks never again after status %i, and ready() says so', async (code, words) => {
    api.misbehave({ code });
    const identity = await start();
    const refusal = expect.objectContaining({
      code: 'ENMESH_ISSUANCE_WORKLOAD_API',
      message: expect.stringMatching(words) as unknown,
    }) as unknown;
    await expect(identity.ready()).rejects.toThrow(refusal);
    await expect(identity.ready()).rejects.toThrow(refusal);
    await new Promise((done) => setTimeout(done, 200));
    expect(api.opened).toBe(1);
  });

  it('names the socket and its setting when it is not there, and finds it when it comes', async () => {
    await api.register(web);
    api.kill();
    const identity = await start({ env: { SPIFFE_ENDPOINT_SOCKET: api.uri }, socket: undefined as never });
    await untilHolds(() => expect(told('identity-waiting')).not.toHaveLength(0));
    expect(notices[0]?.message).toContain(`${api.uri} (SPIFFE_ENDPOINT_SOCKET) cannot be reached: there is no such socket`);
    await api.start();
    await identity.ready();
  });

  it('says what to look at when the agent accepts and says nothing for 10 seconds', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'wlapi-'));
    const silent: Server = createServer(() => {});
    await new Promise<void>((done) => silent.listen(join(directory, 'sock'), done));
    ends.push(
      () => rmSync(directory, { recursive: true }),
      () => silent.close(),
    );
    for (const uri of [`unix://${directory}/sock`, api.uri]) {
      const clock = createTestClock();
      api.misbehave('silent');
      const identity = await start({ socket: uri, timer: clock.timer });
      clock.advance(9_999);
      expect(told('identity-waiting')).toEqual([]);
      clock.advance(1);
      expect(told('identity-waiting')[0]?.message).toMatch(/has said nothing for 10 s: see that this is the socket of an agent/);
      clock.advance(3_600_000);
      expect(told('identity-waiting')).toHaveLength(1);
      identity.close();
      expect(clock.pending).toBe(0);
      notices.length = 0;
    }
  });

  it('finds an agent that said nothing for long and then speaks, whatever root it has by now', async () => {
    const clock = createTestClock(Date.now());
    api.misbehave('silent');
    const identity = await start({ clock: clock.now, timer: clock.timer });
    for (const [at, patience] of [10_000, 20_000, 40_000, 60_000].entries()) {
      await untilHolds(() => expect(api.opened).toBe(at + 1));
      clock.advance(patience);
    }
    await untilHolds(() => expect(api.opened).toBe(5));
    expect(told('identity-waiting')).toHaveLength(1);
    expect(() => identity.svid.current()).toThrow(none);
    // It is back on the stream that comes next, with a second root.
    const next = await createTestAuthority({ trustDomain: 'td.test' });
    await api.register(web);
    api.override(replaced({ bundle: derOf(api.authority.rootPem + next.rootPem) }));
    api.misbehave(undefined);
    clock.advance(60_000);
    await identity.ready();
    expect(identity.bundles.current().get('td.test')?.roots).toHaveLength(2);
    expect(told('identity-rotated')).toHaveLength(1);
  });

  it('leaves nothing running when closed, and rejects who waits', async () => {
    api.misbehave('silent');
    const clock = createTestClock();
    const identity = await start({ timer: clock.timer });
    const waiting = identity.ready();
    await identity.close();
    await expect(waiting).rejects.toThrow(none);
    expect(() => identity.svid.current()).toThrow(none);
    expect(clock.pending).toBe(0);
    await api.register(web);
    expect(api.streams).toBe(0);
  });

  it('warns when the SVID nears its end without renewal, and opens the stream anew', async () => {
    const clock = createTestClock(Date.now());
    await api.register({ ...web, ttlMs: 3_000_000 });
    const identity = await start({ clock: clock.now, timer: clock.timer });
    await identity.ready();
    clock.advance(2_300_000);
    await untilHolds(() => expect(api.opened).toBe(2));
    clock.advance(200_000);
    expect(told('identity-expiring').map(({ level }) => level)).toEqual(['warn']);
    clock.advance(600_000);
    expect(told('identity-expiring').map(({ level }) => level)).toEqual(['warn', 'error']);
    expect(() => identity.svid.current()).toThrow(/expired/);
    identity.close();
    expect(clock.pending).toBe(0);
  });

  it('says once that its SVID is of another workload than configured', async () => {
    const uri = await api.register(second);
    const identity = await start();
    await identity.ready();
    await api.rotate(uri);
    await untilHolds(() => expect(told('identity-rotated')).toHaveLength(2));
    expect(told('identity-doubtful').map(({ message }) => message)).toEqual([
      expect.stringContaining('ns/shop/sa/web: peers see'),
    ]);
  });

  it.each([undefined, ['td.test']])('takes the trust domain of the mesh and its aliases only: aliases %j', async (aliases) => {
    await api.register(web);
    const identity = await start({ trustDomain: 'mesh.test', ...(aliases && { trustDomainAliases: aliases }) });
    if (aliases !== undefined) return identity.ready();
    await untilHolds(() => expect(told('identity-renewal-failed')).toHaveLength(1));
    expect(notices[0]).toMatchObject({
      code: 'ENMESH_ISSUANCE_TRUST_DOMAIN',
      message: expect.stringContaining('td.test') as unknown,
    });
    expect(() => identity.svid.current()).toThrow(none);
  });
});

it('an SVID comes with the intermediate that signed it, and is not taken without', async () => {
  const [rootKey, signerKey, key] = [1, 2, 3].map(() => generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey) as [
    KeyObject,
    KeyObject,
    KeyObject,
  ];
  const times = { notBefore: Date.now() - 60_000, notAfter: Date.now() + 3_600_000 };
  const root = await issueCertificate({ ...rootOptions('td.test', rootKey), ...times });
  const ca = { isCa: true, keyUsage: ['keyCertSign'] as const, subject: { organization: 'upstream' } };
  const signer = await issueCertificate({ key: signerKey, issuer: root, issuerKey: rootKey, ...ca, ...times });
  const uri = 'spiffe://td.test/ns/shop/sa/web';
  const leaf = await issueCertificate({ ...svidOptions(uri, key), issuer: signer, issuerKey: signerKey, ...times });
  const entry = {
    spiffe_id: uri,
    x509_svid: derOf(leaf + signer),
    x509_svid_key: key.export({ type: 'pkcs8', format: 'der' }),
    bundle: derOf(root),
  };
  api.override({ svids: [entry] });
  const identity = await start();
  await identity.ready();
  expect(identity.svid.current().chain).toBe(leaf + signer);
  api.override({ svids: [{ ...entry, x509_svid: derOf(leaf) }] });
  await untilHolds(() => expect(notices.at(-1)?.code).toBe('ENMESH_X509_UNTRUSTED'));
});

describe('bad content of a message', () => {
  const foreign = createTestAuthority({ trustDomain: 'td.test' });
  const weakLeaf = async (): Promise<Partial<X509Entry>> => {
    const rootKey = generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey;
    const key = generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey;
    const times = { notBefore: Date.now() - 60_000, notAfter: Date.now() + 3_600_000 };
    const root = await issueCertificate({ ...rootOptions('td.test', rootKey), ...times });
    const recipe = { ...svidOptions('spiffe://td.test/ns/shop/sa/web', key), issuer: root, issuerKey: rootKey, ...times };
    return { ...(await of(issueCertificate(recipe).then((chain) => ({ chain, privateKey: key })))), bundle: derOf(root) };
  };
  const empty = Buffer.alloc(0);
  const cut = (der: Buffer): Buffer => der.subarray(0, der.length - 1);
  const of = async (make: Promise<{ chain: string; privateKey: KeyObject }>): Promise<Partial<X509Entry>> => {
    const { chain, privateKey } = await make;
    return { x509_svid: derOf(chain), x509_svid_key: privateKey.export({ type: 'pkcs8', format: 'der' }) };
  };

  it.each<[string, string, (good: X509Entry) => Partial<X509Entry> | Promise<Partial<X509Entry>>]>([
    ['without an ID', 'ENMESH_ISSUANCE_WORKLOAD_MESSAGE', () => ({ spiffe_id: '' })],
    ['without a certificate', 'ENMESH_ISSUANCE_WORKLOAD_MESSAGE', () => ({ x509_svid: empty })],
    ['without a key', 'ENMESH_ISSUANCE_WORKLOAD_MESSAGE', () => ({ x509_svid_key: empty })],
    ['without a bundle', 'ENMESH_ISSUANCE_WORKLOAD_MESSAGE', () => ({ bundle: empty })],
    ['with another ID', 'ENMESH_ISSUANCE_WORKLOAD_MESSAGE', () => ({ spiffe_id: 'spiffe://td.test/ns/shop/sa/admin' })],
    ['with an ID that is none', 'ENMESH_IDENTITY_SPIFFE_ID_INVALID', () => ({ spiffe_id: 'http://td.test' })],
    [
      'with the key of another',
      'ENMESH_X509_KEY_INVALID',
      async () => ({ x509_svid_key: (await of((await foreign).issue(web))).x509_svid_key! }),
    ],
    ['with a weak key', 'ENMESH_X509_SVID_INVALID', weakLeaf],
    ['with a key that is none', 'ENMESH_X509_KEY_INVALID', () => ({ x509_svid_key: Buffer.from('key') })],
    ['with a cut certificate', 'ENMESH_X509_MALFORMED', ({ x509_svid: der }) => ({ x509_svid: cut(der) })],
    ['with a cut bundle', 'ENMESH_X509_MALFORMED', ({ bundle }) => ({ bundle: cut(bundle) })],
    ['with a bundle that does not sign it', 'ENMESH_X509_UNTRUSTED', async () => ({ bundle: derOf((await foreign).rootPem) })],
    ['signed by another root', 'ENMESH_X509_UNTRUSTED', async () => of((await foreign).issue(web))],
    ['that is expired', 'ENMESH_X509_OUT_OF_VALIDITY', () => of(api.authority.issueBad('expired', web))],
    ['that is not yet valid', 'ENMESH_X509_OUT_OF_VALIDITY', () => of(api.authority.issueBad('not-yet-valid', web))],
    ['that is a CA', 'ENMESH_X509_SVID_INVALID', () => of(api.authority.issueBad('ca', web))],
    ['with two URIs', 'ENMESH_X509_SVID_INVALID', () => of(api.authority.issueBad('two-uris', web))],
  ])('an SVID %s is put aside with its code, and the last good one kept', async (_, code, change) => {
    const uri = await api.register(web);
    const identity = await start();
    await identity.ready();
    const { serial } = identity.svid.current();
    api.override(replaced(await change(api.message().svids[0]!)));
    await untilHolds(() => expect(told('identity-renewal-failed')).toHaveLength(1));
    expect(notices.at(-1)).toMatchObject({ code, level: 'warn', message: expect.stringContaining('last good') as unknown });
    expect(identity.svid.current().serial).toBe(serial);
    expect(JSON.stringify(notices)).not.toMatch(/PRIVATE|BEGIN|MII/);
    api.override(undefined);
    await api.rotate(uri);
    await untilHolds(() => expect(identity.svid.current().serial).not.toBe(serial));
  });

  it('garbage and a message of more than 4 MiB end the stream, which is opened again; an empty message is put aside', async () => {
    const uri = await api.register(web);
    const identity = await start();
    await identity.ready();
    const { serial } = identity.svid.current();
    const big = Buffer.concat([Buffer.of(0x7a, 0x80, 0x80, 0x80, 0x02), Buffer.alloc(4 << 20)]);
    const bad: [Buffer, RegExp][] = [
      [Buffer.from('\x0a\xff\xff\xff\xff\x0fgarbage', 'latin1'), /answered FetchX509SVID with what is no message of it/],
      [big, /sent a message of more than 4 MiB/],
      [empty, /it has no X\.509-SVID/],
    ];
    for (const [message, words] of bad) {
      api.override(message);
      await untilHolds(() => expect(told('identity-renewal-failed').at(-1)?.message).toMatch(words));
      expect(identity.svid.current().serial).toBe(serial);
    }
    api.override(undefined);
    await api.rotate(uri);
    await untilHolds(() => expect(identity.svid.current().serial).not.toBe(serial));
  });

  it('a federated bundle that is bad or claims the own trust domain costs nobody else', async () => {
    await api.register(web);
    api.federate('broken.test', Buffer.from('no DER'));
    api.federate('td.test', await foreign);
    api.federate('other.test', await createTestAuthority({ trustDomain: 'other.test' }));
    const identity = await start();
    await identity.ready();
    expect([...identity.bundles.current().keys()]).toEqual(['td.test', 'other.test']);
    expect(identity.bundles.current().get('td.test')?.roots).toEqual([api.authority.rootPem]);
    expect(told('identity-doubtful').map(({ message }) => message)).toEqual([
      expect.stringContaining('broken.test'),
      expect.stringContaining('two bundles of trust domain td.test'),
    ]);
  });

  it('federated bundles beyond 1024 certificates are left out', async () => {
    await api.register(web);
    const root = derOf((await foreign).rootPem);
    const names = Array.from({ length: 20 }, (_, n) => `t${n}.test`);
    const federated = names.map((name) => [name, Buffer.concat(Array.from({ length: 64 }, () => root))] as const);
    api.override({ ...api.message(), federated_bundles: Object.fromEntries(federated) });
    const identity = await start();
    await identity.ready();
    expect([...identity.bundles.current().keys()]).toEqual(['td.test', ...names.slice(0, 15)]);
    expect(told('identity-doubtful').map(({ message }) => message)).toHaveLength(5);
    expect(notices[0]?.message).toMatch(/t15\.test.*more than 1024 certificates/);
  });

  it('more than its bounds is put aside', async () => {
    await api.register(web);
    const identity = await start();
    await identity.ready();
    const [svid] = api.message().svids;
    api.override({ svids: Array.from({ length: 65 }, () => svid!) });
    await untilHolds(() => expect(notices.at(-1)?.message).toMatch(/more than 64 X\.509-SVIDs/));
    api.override({
      ...api.message(),
      federated_bundles: Object.fromEntries(Array.from({ length: 257 }, (_, n) => [`t${n}`, svid!.bundle])),
    });
    await untilHolds(() => expect(notices.at(-1)?.message).toMatch(/more than 256 trust domains/));
    api.override(replaced({ bundle: Buffer.concat(Array.from({ length: 65 }, () => svid!.bundle)) }));
    await untilHolds(() => expect(notices.at(-1)?.code).toBe('ENMESH_X509_MALFORMED'));
    expect(identity.svid.current().id.uri).toBe('spiffe://td.test/ns/shop/sa/web');
  });

  it('a revocation list comes with the bundles; one that cannot be read is said not to be honoured', async () => {
    await api.register(web);
    api.override({ ...api.message(), crl: [Buffer.from('no list')] });
    const identity = await start();
    await identity.ready();
    expect(identity.bundles.current().get('td.test')?.crls).toBeUndefined();
    expect(told('identity-doubtful').map(({ message }) => message)).toEqual([expect.stringContaining('is not honoured')]);
  });
});
