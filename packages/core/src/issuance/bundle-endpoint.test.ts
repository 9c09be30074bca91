import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { noticeEvents, type NoticeEvent } from '../telemetry/events.js';
import { createTestAuthority, type TestAuthority } from '../testing/authority.js';
import { createTestClock } from '../testing/clock.js';
import { issueCertificate, rootOptions } from '../x509/certificate.js';
import { createBundleEndpoint, type BundleEndpoint, type BundleEndpointOptions } from './bundle-endpoint.js';
import { untilHolds } from '../../../../test/support/waiting.js';

const endpointId = 'spiffe://partner.test/bundle';
const failed = (words: RegExp) =>
  expect.objectContaining({ code: 'ENMESH_ISSUANCE_BUNDLE', message: expect.stringMatching(words) as unknown }) as unknown;

let authority: TestAuthority;
let server: Server;
let url: string;
let answer: { status: number; headers: Record<string, string>; body: string | Buffer };
let asked: number;
let notices: NoticeEvent[];
const ends: (() => unknown)[] = [];

const listen = async (credentials: { readonly key: string; readonly cert: string }): Promise<Server> => {
  const made = createServer(credentials, (_, response) => {
    asked += 1;
    response.writeHead(answer.status, answer.headers).end(answer.body);
  });
  await new Promise<void>((done) => made.listen(0, '127.0.0.1', done));
  ends.push(() => new Promise((done) => made.close(done)));
  ends.push(() => made.closeAllConnections());
  return made;
};
const urlOf = (of: Server): string => `https://127.0.0.1:${(of.address() as AddressInfo).port}/bundle`;
const credentialsOf = async (by: TestAuthority, id: string) => {
  const { chain, privateKey } = await by.issueUri(id);
  return { key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), cert: chain };
};

const x509Key = (pem: string): object => {
  const certificate = new X509Certificate(pem);
  return { ...certificate.publicKey.export({ format: 'jwk' }), use: 'x509-svid', x5c: [certificate.raw.toString('base64')] };
};
const jwtKey = {
  ...generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).publicKey.export({ format: 'jwk' }),
  use: 'jwt-svid',
  kid: 'k',
};
const publish = (keys: readonly object[], members: object = {}): void => {
  answer = { status: 200, headers: {}, body: JSON.stringify({ keys, spiffe_sequence: 1, spiffe_refresh_hint: 60, ...members }) };
};
const start = (options: Partial<BundleEndpointOptions> = {}): BundleEndpoint => {
  const endpoint = createBundleEndpoint({
    trustDomain: 'partner.test',
    url,
    profile: 'https_spiffe',
    endpointSpiffeId: endpointId,
    roots: authority.rootPem,
    ...options,
  });
  ends.push(() => endpoint.close());
  return endpoint;
};
const lastFailure = (): string | undefined => notices.findLast(({ kind }) => kind === 'bundle-failed')?.message;

beforeEach(async () => {
  asked = 0;
  notices = [];
  authority = await createTestAuthority({ trustDomain: 'partner.test' });
  server = await listen(await credentialsOf(authority, endpointId));
  url = urlOf(server);
  publish([x509Key(authority.rootPem), jwtKey]);
  ends.push(noticeEvents.subscribe((notice) => void notices.push(notice)));
});
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

describe('a bundle endpoint of profile https_spiffe', () => {
  it('gives the bundle of its trust domain, for X.509-SVIDs and JWT-SVIDs', async () => {
    const endpoint = start();
    await endpoint.ready();
    expect(endpoint.current()).toEqual(new Map([['partner.test', { trustDomain: 'partner.test', roots: [authority.rootPem] }]]));
    expect(endpoint.jwtBundle()?.keys.map(({ kid }) => kid)).toEqual(['k']);
  });

  it('is asked again when its refresh hint says, each time proved by the latest bundle, through a roll of its root', async () => {
    const clock = createTestClock(Date.now());
    const next = await createTestAuthority({ trustDomain: 'partner.test' });
    const endpoint = start({ timer: clock.timer });
    const heard: (readonly string[] | undefined)[] = [];
    endpoint.watch((bundles) => void heard.push(bundles.get('partner.test')?.roots));
    await endpoint.ready();
    publish([x509Key(authority.rootPem), x509Key(next.rootPem)], { spiffe_sequence: 2 });
    clock.advance(59_999);
    expect(asked).toBe(1);
    clock.advance(1);
    await untilHolds(() => expect(heard).toEqual([[authority.rootPem, next.rootPem]]));
    await untilHolds(() => expect(clock.pending).toBe(1));
    server.setSecureContext(await credentialsOf(next, endpointId));
    publish([x509Key(next.rootPem)], { spiffe_sequence: 3 });
    clock.advance(60_000);
    await untilHolds(() => expect(heard.at(-1)).toEqual([next.rootPem]));
    await untilHolds(() => expect(clock.pending).toBe(1));
    server.setSecureContext(await credentialsOf(authority, endpointId));
    clock.advance(60_000);
    await untilHolds(() => expect(lastFailure()).toMatch(/the last good bundle is kept/));
    expect(endpoint.current().get('partner.test')?.roots).toEqual([next.rootPem]);
  });

  it('may be served by another trust domain, whose roots stay those configured', async () => {
    const endpoint = start({ trustDomain: 'prod.partner.test' });
    expect(() => endpoint.current()).toThrow(expect.objectContaining({ code: 'ENMESH_IDENTITY_NONE' }));
    await endpoint.ready();
    expect([...endpoint.current().keys()]).toEqual(['prod.partner.test']);
  });

  it.each<[string, RegExp, () => Promise<{ key: string; cert: string }>]>([
    ['another SPIFFE ID', /is expected/, () => credentialsOf(authority, 'spiffe://partner.test/other')],
    [
      'an SVID of another root',
      /cannot be reached|no such SVID/,
      async () => credentialsOf(await createTestAuthority({ trustDomain: 'partner.test' }), endpointId),
    ],
    ['the ID in another trust domain', /no such SVID/, () => credentialsOf(authority, 'spiffe://other.test/bundle')],
    ['no SVID', /no such SVID/, () => credentialsOf(authority, 'https://partner.test')],
  ])('is not believed with %s', async (_, words, credentials) => {
    server.setSecureContext(await credentials());
    const endpoint = start();
    await untilHolds(() => expect(lastFailure()).toMatch(words));
    expect(asked).toBe(0);
    expect(endpoint.jwtBundle()).toBeUndefined();
  });

  it('ends the trust when it takes back all keys', async () => {
    publish([]);
    const endpoint = start();
    await endpoint.ready();
    expect(endpoint.current().get('partner.test')?.roots).toEqual([]);
    expect(notices.at(-1)).toMatchObject({ kind: 'bundle-refreshed', level: 'warn' });
  });

  it('does not go back to an older bundle', async () => {
    const clock = createTestClock(Date.now());
    publish([x509Key(authority.rootPem)], { spiffe_sequence: 7 });
    const endpoint = start({ timer: clock.timer });
    await endpoint.ready();
    await untilHolds(() => expect(clock.pending).toBe(1));
    publish([], { spiffe_sequence: 6 });
    clock.advance(60_000);
    await untilHolds(() => expect(lastFailure()).toMatch(/older \(spiffe_sequence 6\) than the one held \(7\)/));
    expect(endpoint.current().get('partner.test')?.roots).toHaveLength(1);
  });

  it('leaves nothing running when closed, and rejects who waits', async () => {
    const clock = createTestClock(Date.now());
    answer.status = 500;
    const endpoint = start({ timer: clock.timer });
    const waiting = endpoint.ready();
    await untilHolds(() => expect(clock.pending).toBe(1));
    endpoint.close();
    await expect(waiting).rejects.toThrow(expect.objectContaining({ code: 'ENMESH_IDENTITY_NONE' }));
    await expect(endpoint.ready()).rejects.toThrow(expect.objectContaining({ code: 'ENMESH_IDENTITY_NONE' }));
    expect(() => endpoint.current()).toThrow(expect.objectContaining({ code: 'ENMESH_IDENTITY_NONE' }));
    expect(clock.pending).toBe(0);
  });
});

describe('a bundle endpoint of profile https_web', () => {
  const web = { profile: 'https_web', endpointSpiffeId: undefined } as unknown as Partial<BundleEndpointOptions>;
  const key = generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey;
  const webServer = async () => {
    const times = { notBefore: Date.now() - 60_000, notAfter: Date.now() + 3_600_000 };
    const root = await issueCertificate({ ...rootOptions('web.test', key), ...times });
    const leaf = { key, issuer: root, issuerKey: key, isCa: false, keyUsage: ['digitalSignature'] as const, ...times };
    const cert = await issueCertificate({ ...leaf, dnsSans: ['localhost'] });
    const made = await listen({ key: key.export({ type: 'pkcs8', format: 'pem' }).toString(), cert });
    return { root, url: urlOf(made).replace('127.0.0.1', 'localhost') };
  };

  it('is known by its name and the authorities given', async () => {
    const { root, url: webUrl } = await webServer();
    const endpoint = start({ ...web, url: webUrl, roots: root });
    await endpoint.ready();
    expect(endpoint.current().get('partner.test')?.roots).toEqual([authority.rootPem]);
    start({ ...web, url: webUrl.replace('localhost', '127.0.0.1'), roots: root });
    await untilHolds(() => expect(lastFailure()).toMatch(/ERR_TLS_CERT_ALTNAME_INVALID/));
    start({ ...web, url: webUrl, roots: authority.rootPem });
    await untilHolds(() => expect(lastFailure()).toMatch(/UNABLE_TO_VERIFY_LEAF_SIGNATURE/));
  });
});

describe('an answer of a bundle endpoint', () => {
  it.each<[string, RegExp, () => Partial<typeof answer>]>([
    ['with another status', /status 404/, () => ({ status: 404 })],
    ['that is compressed', /compressed/, () => ({ headers: { 'content-encoding': 'gzip' } })],
    ['that is larger than allowed', /larger than 4096/, () => ({ body: Buffer.alloc(5000, 0x20) })],
    ['that leads to plain http', /not https/, () => ({ status: 302, headers: { location: 'http://127.0.0.1/' } })],
    [
      'that leads to a metadata address',
      /link-local/,
      () => ({ status: 302, headers: { location: 'https://169.254.169.254/' } }),
    ],
    ['that leads round in a circle', /more than 3 redirects/, () => ({ status: 302, headers: { location: '/bundle' } })],
    ['that is no JSON', /not JSON/, () => ({ body: 'bundle' })],
    ['with a member twice', /not JSON that every reader/, () => ({ body: '{"keys":[],"keys":[]}' })],
    ['without keys', /no list "keys"/, () => ({ body: '{}' })],
    ['with a sequence that is none', /spiffe_sequence/, () => ({ body: '{"keys":[],"spiffe_sequence":"1"}' })],
    ['with a negative hint', /spiffe_refresh_hint/, () => ({ body: '{"keys":[],"spiffe_refresh_hint":-1}' })],
    [
      'with a key without a certificate',
      /exactly one certificate/,
      () => ({ body: JSON.stringify({ keys: [{ ...jwtKey, use: 'x509-svid' }] }) }),
    ],
    [
      'with a certificate of another key',
      /another key/,
      () => ({ body: JSON.stringify({ keys: [{ ...x509Key(authority.rootPem), ...jwtKey, use: 'x509-svid' }] }) }),
    ],
    ['with a JWT key without kid', /no kid/, () => ({ body: JSON.stringify({ keys: [{ ...jwtKey, kid: undefined }] }) })],
  ])('%s is not taken', async (_, words, change) => {
    answer = { ...answer, ...change() };
    const endpoint = start({ maxBytes: 4096 });
    await untilHolds(() => expect(lastFailure()).toMatch(words));
    expect(endpoint.current().get('partner.test')?.roots).toEqual([authority.rootPem]);
    expect(endpoint.jwtBundle()).toBeUndefined();
  });

  it('is waited for no longer than allowed, and a failure is told once while it is the same', async () => {
    server.removeAllListeners('request');
    const clock = createTestClock(Date.now());
    start({ timeoutMs: 30, timer: clock.timer });
    for (const pause of [1000, 2000, 4000]) {
      await untilHolds(() => expect(clock.pending).toBe(1));
      clock.advance(pause - 1);
      expect(clock.pending).toBe(1);
      clock.advance(1);
      expect(clock.pending).toBe(0);
    }
    expect(notices.filter(({ kind }) => kind === 'bundle-failed').map(({ message }) => message)).toEqual([
      expect.stringContaining('no answer within 30 ms'),
    ]);
  });
});

describe('a bundle kept on disk', () => {
  let directory: string;
  let clock: ReturnType<typeof createTestClock>;
  let next: TestAuthority;
  const kinds = () => notices.map(({ kind }) => kind);
  const again = (options: Partial<BundleEndpointOptions> = {}): BundleEndpoint =>
    start({ snapshotDirectory: directory, clock: clock.now, timer: clock.timer, ...options });
  /** The file of a bundle with another root than the given one, after which the endpoint is down. */
  const keep = async (): Promise<string> => {
    const first = again();
    await first.ready();
    const file = await untilHolds(() => {
      const [name = ''] = readdirSync(directory).filter((found) => found.endsWith('.json'));
      expect(name).not.toBe('');
      return join(directory, name);
    });
    first.close();
    answer = { status: 503, headers: {}, body: '' };
    notices.length = 0;
    return file;
  };
  beforeEach(async () => {
    directory = join(mkdtempSync(join(tmpdir(), 'enmesh-bundles-')), 'kept');
    ends.push(() => rmSync(join(directory, '..'), { recursive: true }));
    clock = createTestClock(Date.now());
    next = await createTestAuthority({ trustDomain: 'partner.test' });
    publish([x509Key(authority.rootPem), x509Key(next.rootPem), jwtKey], { spiffe_sequence: 7 });
  });

  it('is used by a restart while the endpoint is down, and told; an older one is not taken in its place later', async () => {
    await keep();
    const fetchedAt = clock.now();
    clock.advance(1_800_000);
    const restarted = again();
    await restarted.ready();
    await restarted.tried();
    expect(restarted.current().get('partner.test')?.roots).toEqual([authority.rootPem, next.rootPem]);
    expect(restarted.jwtBundle()?.keys.map(({ kid }) => kid)).toEqual(['k']);
    expect(restarted.status()).toMatchObject({ fetchedAt, failures: 1 });
    expect(kinds()).toEqual(['bundle-restored', 'bundle-refreshed', 'bundle-failed']);
    expect(lastFailure()).toMatch(/status 503; the last good bundle is kept/);
    publish([x509Key(authority.rootPem)], { spiffe_sequence: 6 });
    await untilHolds(() => expect(clock.pending).toBe(1));
    clock.advance(1_000);
    await untilHolds(() => expect(lastFailure()).toMatch(/is older/));
    publish([x509Key(next.rootPem)], { spiffe_sequence: 8 });
    await untilHolds(() => expect(clock.pending).toBe(1));
    clock.advance(2_000);
    await untilHolds(() => expect(restarted.current().get('partner.test')?.roots).toEqual([next.rootPem]));
  });

  it('is private, and not looked at while the endpoint answers', async () => {
    const file = await keep();
    expect([statSync(file).mode & 0o777, statSync(directory).mode & 0o777]).toEqual([0o600, 0o700]);
    publish([x509Key(authority.rootPem)], { spiffe_sequence: 8 });
    const restarted = again({ roots: authority.rootPem });
    await restarted.ready();
    expect(restarted.current().get('partner.test')?.roots).toEqual([authority.rootPem]);
    expect(kinds()).not.toContain('bundle-restored');
  });

  it.each<[string, RegExp, (file: string) => void]>([
    ['older than a day', /older than 24 hours/, () => clock.advance(24 * 3_600_000 + 1)],
    ['of the future', /or of the future/, () => clock.advance(-3_600_000)],
    ['open to others', /open to, another user/, (file) => chmodSync(file, 0o640)],
    ['damaged', /is damaged/, (file) => writeFileSync(file, '{')],
    [
      'of another domain',
      /of other keys/,
      (file) => replaceIn(file, '"trustDomain":"partner.test"', '"trustDomain":"other.test"'),
    ],
    ['no bundle', /Not a SPIFFE bundle/, (file) => replaceIn(file, 'x5c', 'x5d')],
  ])('is not used where it is %s', async (_what, words, spoil) => {
    spoil(await keep());
    const restarted = again({ profile: 'https_web', endpointSpiffeId: undefined as never, roots: authority.rootPem });
    await restarted.tried();
    expect(() => restarted.current()).toThrow(expect.objectContaining({ code: 'ENMESH_IDENTITY_NONE' }));
    expect(notices[0]).toMatchObject({ kind: 'bundle-failed', message: expect.stringMatching(words) as unknown });
  });

  it('that cannot be written costs nothing but a notice', async () => {
    writeFileSync(join(directory, '..', 'file'), '');
    const endpoint = again({ snapshotDirectory: join(directory, '..', 'file', 'kept') });
    await endpoint.ready();
    await untilHolds(() => expect(lastFailure()).toMatch(/its snapshot cannot be written \(ENOTDIR\)/));
  });
});

const replaceIn = (file: string, part: string, other: string): void =>
  writeFileSync(file, readFileSync(file, 'utf8').replace(part, other));

describe('settings that can never work', () => {
  it.each<[RegExp, Partial<BundleEndpointOptions>]>([
    [/is no URL/, { url: 'partner' }],
    [/not https/, { url: 'http://partner.test/' }],
    [/has a user/, { url: 'https://me@partner.test/' }],
    [/link-local/, { url: 'https://169.254.169.254/' }],
    [/https_web or https_spiffe/, { profile: 'web' as never }],
    [/belongs to the profile https_spiffe/, { profile: 'https_web' }],
    [/needs endpointSpiffeId/, { endpointSpiffeId: undefined as never }],
    [/needs roots/, { roots: undefined as never }],
    [/no certificate/, { roots: '' }],
  ])('are refused at once: %s', (words, options) => {
    expect(() => start(options)).toThrow(failed(words));
  });
});
