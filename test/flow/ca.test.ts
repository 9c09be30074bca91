import { createPrivateKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect as connectTcp } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createCaServer, createJoinToken, initAuthority, parseCaSettings, rotateRoot, type CaServer } from '@enmesh/ca';
import { noticeEvents, type NoticeEvent } from '@enmesh/core';
import { createTestAuthority, createTestIssuer } from '@enmesh/core/testing';
import { issueCertificate, rootOptions } from '@enmesh/core/x509';
import { callCa, status, type CaAnswer, type CaCall } from '../support/ca-client.js';
import { closed, until } from '../support/waiting.js';

const trustDomain = 'cluster.local';
const uri = 'spiffe://cluster.local/ns/shop/sa/gateway';
const issuer = await createTestIssuer();
const jwt = [
  {
    issuer: issuer.issuer,
    audiences: ['ca'],
    jwks: issuer.jwksText,
    identities: [{ subject: 'vm', namespace: 'shop', serviceAccount: 'gateway' }],
  },
];

let parent = '';
let directory = '';
let server: CaServer;
let late = 0;
let notices: NoticeEvent[] = [];
let stop = (): void => {};
const clock = (): number => Date.now() + late;
const hour = 3_600_000;

async function start(own: { readonly limits?: object; readonly renewExpiredWithin?: string } = {}): Promise<void> {
  // These tests ask in loops.
  const { limits: ownLimits, ...more } = own;
  const limits = { perCallerPerMinute: 1_000_000, perAddressPerMinute: 1_000_000, ...ownLimits };
  const settings = parseCaSettings({ trustDomain, listen: '127.0.0.1:0', jwt, limits, ...more }, directory);
  server = await createCaServer(settings, { clock });
}
beforeEach(async () => {
  parent = mkdtempSync(join(tmpdir(), 'enmesh-ca-'));
  directory = join(parent, 'ca');
  late = 0;
  notices = [];
  stop = noticeEvents.subscribe((notice) => notices.push(notice));
  await initAuthority({ directory, trustDomain, settings: { name: 'ca.yaml', text: '' } });
  await start();
});
/** Another authority in the place of the first, at another time. */
async function restartAt(time: number): Promise<void> {
  await server.close(0);
  rmSync(directory, { recursive: true });
  late = time;
  await initAuthority({ directory, trustDomain, settings: { name: 'ca.yaml', text: '' }, clock });
  await start();
}
afterEach(async () => {
  stop();
  await server.close(0);
  rmSync(parent, { recursive: true });
});

const call = (more: Partial<CaCall> = {}): Promise<CaAnswer> => callCa({ port: server.port, roots: server.roots(), ...more });
const token = (claims: object = {}, o: object = {}): Promise<string> => issuer.sign({ sub: 'vm', aud: 'ca', ...claims }, o);
const certificateOf = ({ chain, key }: CaAnswer) => ({ chain: chain.slice(0, -1).join(''), key });
const shake = (options: ConnectionOptions = {}): Promise<TLSSocket> =>
  new Promise((done, fail) => {
    const names = { port: server.port, host: '127.0.0.1', ca: server.roots(), servername: 'localhost', ALPNProtocols: ['h2'] };
    const socket = connectTls({ ...names, ...options }, () => done(socket));
    socket.on('error', fail);
  });

describe('a certificate authority over the wire', () => {
  it('answers as istiod does: leaf, intermediate, roots, each in PEM', async () => {
    const answer = await call({ token: await token(), validitySeconds: 3600 });
    expect([answer.code, answer.chain.length]).toEqual([0, 3]);
    const [leaf, intermediate, root] = answer.chain.map((pem) => new X509Certificate(pem));
    expect(leaf!.subjectAltName).toBe(`URI:${uri}`);
    expect(
      leaf!.checkPrivateKey(answer.key) && leaf!.verify(intermediate!.publicKey) && intermediate!.verify(root!.publicKey),
    ).toBe(true);
    for (const pem of answer.chain) expect(pem).toMatch(/^-----BEGIN CERTIFICATE-----\n[^]*-----END CERTIFICATE-----\n$/);
    expect(answer.chain[2]).toBe(readFileSync(join(directory, 'trust-bundle.pem'), 'utf8'));
  });

  it('tells nobody why it does not believe them', async () => {
    const forger = await createTestIssuer();
    const foreign = await createTestAuthority();
    const svid = await foreign.issue({ namespace: 'shop', serviceAccount: 'gateway' });
    const made = await createJoinToken({ directory, trustDomain, namespace: 'shop', serviceAccount: 'gateway', lifeSeconds: 60 });
    expect((await call({ token: made.token })).code).toBe(0);
    writeFileSync(join(directory, 'deny.list'), 'identity spiffe://cluster.local/ns/shop/sa/denied\n');
    const denied = await createJoinToken({
      directory,
      trustDomain,
      namespace: 'shop',
      serviceAccount: 'denied',
      lifeSeconds: 60,
    });
    const calls: Partial<CaCall>[] = [
      {},
      { token: '' },
      { token: 'nonsense' },
      { token: made.token },
      { token: denied.token },
      { token: await forger.sign({ sub: 'vm', aud: 'ca' }) },
      { token: await token({}, { expiresIn: -120 }) },
      { token: await token({ aud: 'other' }) },
      { token: await token({ sub: 'other' }) },
      { token: await token({ iss: 'https://other' }) },
      { token: await token(), impersonate: 'spiffe://cluster.local/ns/shop/sa/admin' },
      { certificate: { chain: svid.chain, key: svid.privateKey } },
      { csr: 'nonsense' },
    ];
    const answers = [];
    for (const one of calls) answers.push(await call(one));
    expect(new Set(answers.map(({ code, details, chain }) => JSON.stringify([code, details, chain])))).toEqual(
      new Set([JSON.stringify([status.UNAUTHENTICATED, 'request authenticate failure', []])]),
    );
    const causes = notices.filter(({ kind }) => kind === 'certificate-refused');
    expect(causes).toHaveLength(calls.length);
    expect(new Set(causes.map(({ message }) => message)).size).toBeGreaterThan(7);
  });

  it('tells a proved caller what is wrong with its request', async () => {
    const answers = [
      await call({ token: await token(), csr: 'nonsense' }),
      await call({ token: await token(), validitySeconds: 90_000 }),
      await call({ token: await token(), uriSan: 'spiffe://cluster.local/ns/shop/sa/admin' }),
    ];
    expect(answers.map(({ code }) => code)).toEqual([status.INVALID_ARGUMENT, status.INVALID_ARGUMENT, status.INVALID_ARGUMENT]);
    expect(answers.map(({ details }) => details)).toEqual([
      expect.stringContaining('expected one request in PEM'),
      'requested TTL 25h0m0s is greater than the max allowed TTL 24h0m0s',
      expect.stringContaining('another identity'),
    ]);
  });

  it('renews by client certificate; with one that is not good any more the token decides', async () => {
    await restartAt(-2 * hour);
    const ended = await call({ token: await token({}, { now: clock() }), validitySeconds: 600 });
    late = 0;
    const first = await call({ token: await token() });
    const renewed = await call({ certificate: certificateOf(first) });
    expect([ended.code, first.code, renewed.code]).toEqual([0, 0, 0]);
    expect((await call({ certificate: certificateOf(ended) })).code).toBe(status.UNAUTHENTICATED);
    expect((await call({ certificate: certificateOf(ended), token: await token() })).code).toBe(0);
    const foreign = await createTestAuthority();
    const svid = await foreign.issue({ namespace: 'shop', serviceAccount: 'admin' });
    const withForeign = await call({ certificate: { chain: svid.chain, key: svid.privateKey }, token: await token() });
    expect([withForeign.code, new X509Certificate(withForeign.chain[0]!).subjectAltName]).toEqual([0, `URI:${uri}`]);
  });

  it('renews an expired certificate once where it is told to, by the key alone that the handshake proves', async () => {
    await restartAt(-2 * hour);
    const ended = await call({ token: await token({}, { now: clock() }), validitySeconds: 600 });
    late = 0;
    await server.close(0);
    await start({ renewExpiredWithin: '1d' });
    const renewed = await call({ certificate: certificateOf(ended) });
    expect([renewed.code, new X509Certificate(renewed.chain[0]!).subjectAltName]).toEqual([0, `URI:${uri}`]);
    expect((await call({ certificate: certificateOf(ended) })).code).toBe(status.UNAUTHENTICATED);
    expect((await call({ certificate: certificateOf(renewed) })).code).toBe(0);
    expect(notices.filter(({ kind, level }) => kind === 'certificate-issued' && level === 'warn')).toHaveLength(1);
  });

  it('knows its own intermediates, so that a leaf alone is enough', async () => {
    const first = await call({ token: await token() });
    expect((await call({ certificate: { chain: first.chain[0]!, key: first.key } })).code).toBe(0);
  });

  it('takes requests of 64 KiB at most, and only its own service', async () => {
    const big = await call({ token: await token(), csr: 'x'.repeat(70_000) });
    expect(big.code).toBe(status.RESOURCE_EXHAUSTED);
    expect((await call({ token: await token() })).code).toBe(0);
  });

  it('serves names of its own and renews that certificate by itself', async () => {
    await restartAt(-13 * hour);
    const first = await shake();
    const certificate = first.getPeerX509Certificate();
    expect(certificate?.subjectAltName).toBe('DNS:istiod.istio-system.svc, DNS:localhost');
    first.destroy();
    late = 0;
    await until(async () => {
      const socket = await shake();
      const serial = socket.getPeerX509Certificate()?.serialNumber;
      socket.destroy();
      return serial !== certificate?.serialNumber;
    });
    await expect(shake({ servername: 'other.example' })).rejects.toThrow(
      expect.objectContaining({ code: 'ERR_TLS_CERT_ALTNAME_INVALID' }),
    );
  });

  it('speaks TLS 1.2 and 1.3 with HTTP/2 only, and resumes nothing', async () => {
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const socket = await shake({ minVersion: version, maxVersion: version });
      const session = new Promise<Buffer>((done) => {
        socket.once('session', done);
        setTimeout(() => done(socket.getSession() ?? Buffer.alloc(0)), 100);
      });
      const again = await shake({ minVersion: version, maxVersion: version, session: await session });
      expect(again.isSessionReused()).toBe(false);
      for (const one of [socket, again]) one.destroy();
    }
    await expect(shake({ minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' })).rejects.toThrow();
    await expect(shake({ ALPNProtocols: ['http/1.1'] })).rejects.toThrow();
    const without = await shake({ ALPNProtocols: [] });
    await closed(without);
  });

  it('closes on who talks something else, and does not mind', async () => {
    for (const text of ['GET / HTTP/1.1\r\n\r\n', '\x16\x03\x01\xff\xff', '\0'.repeat(1000)]) {
      const socket = connectTcp(server.port, '127.0.0.1', () => void socket.write(text));
      socket.resume();
      await closed(socket);
    }
    const garbage = await shake();
    garbage.resume();
    garbage.write('this is no HTTP/2 preface, whatever ALPN said\r\n\r\n');
    await closed(garbage);
    expect((await call({ token: await token() })).code).toBe(0);
  });

  it.each([{ connections: 3 }, { connectionsPerAddress: 3 }])('turns away connections above its limit: %j', async (limits) => {
    await server.close(0);
    await start({ limits });
    const silent = await Promise.all(Array.from({ length: 3 }, () => shake()));
    const one = connectTcp(server.port, '127.0.0.1');
    await closed(one);
    for (const socket of silent) socket.destroy();
    await until(async () => (await call({ token: await token() })).code === 0);
  });

  it('follows a rotation of its root without a stop, each answer with all roots that are trusted', async () => {
    const options = { directory, trustDomain, force: true };
    const first = await call({ token: await token() });
    const old = server.roots();
    const rootsIn = (answer: CaAnswer): number => answer.chain.at(-1)!.split('BEGIN').length - 1;
    await rotateRoot('prepare', options);
    await until(() => server.roots() !== old);
    const prepared = await call({ token: await token(), roots: old });
    expect([rootsIn(first), rootsIn(prepared)]).toEqual([1, 2]);
    expect(prepared.chain[1]).toBe(first.chain[1]);
    await rotateRoot('activate', options);
    const signer = (answer: CaAnswer): string => answer.chain[1] ?? '';
    let activated = prepared;
    // The old root is enough to reach it, and the certificate of before to renew.
    await until(
      async () => signer((activated = await call({ certificate: certificateOf(first), roots: old }))) !== signer(first),
    );
    expect([activated.code, activated.details, activated.code === 0 && rootsIn(activated)]).toEqual([0, '', 2]);
    await rotateRoot('retire', options);
    const now = readFileSync(join(directory, 'trust-bundle.pem'), 'utf8');
    await until(() => server.roots() === now);
    await until(async () => (await call({ certificate: certificateOf(activated), roots: now })).code === 0);
    expect((await call({ certificate: certificateOf(first), roots: now })).code).toBe(status.UNAUTHENTICATED);
    expect((await call({ certificate: certificateOf(activated), roots: old })).code).toBe(status.UNAVAILABLE);
    expect(notices.filter(({ kind, level }) => kind === 'authority-changed' && level !== 'info')).toEqual([]);
  });

  it('goes back to the old root when a rotation is abandoned, and believes what the new one signed until it has ended', async () => {
    const options = { directory, trustDomain };
    const old = server.roots();
    const first = await call({ token: await token(), validitySeconds: 600 });
    const signer = (answer: CaAnswer): string => answer.chain[1] ?? '';
    await rotateRoot('prepare', options);
    await rotateRoot('activate', { ...options, force: true });
    let below = first;
    await until(async () => signer((below = await call({ token: await token(), validitySeconds: 600 }))) !== signer(first));
    await rotateRoot('abandon', options);
    let back = below;
    // A service that was given a certificate below the new root renews by it, with the old root alone to reach the authority.
    const renewal = { certificate: certificateOf(below), roots: old, validitySeconds: 600 };
    await until(async () => signer((back = await call(renewal))) === signer(first));
    expect(back.chain.at(-1)!.split('BEGIN').length - 1).toBe(2);
    await expect(rotateRoot('retire', options)).rejects.toThrow(/below the abandoned root live until/);
    await rotateRoot('retire', { ...options, clock: () => Date.now() + hour });
    await until(() => server.roots() === old);
    // The certificate that it serves by follows its roots.
    await until(async () => (await call({ roots: old })).code !== status.UNAVAILABLE);
    expect(readFileSync(join(directory, 'trust-bundle.pem'), 'utf8')).toBe(old);
    expect((await call({ certificate: certificateOf(below), roots: old })).code).toBe(status.UNAUTHENTICATED);
    expect((await call({ token: await token(), roots: old })).chain.at(-1)).toBe(old);
  });

  it('keeps its last good keys when a file breaks, and takes up the mended one', async () => {
    const path = join(directory, 'ca-cert.pem');
    copyFileSync(path, join(parent, 'good.pem'));
    writeFileSync(path, 'broken');
    await until(() => notices.some(({ kind, level }) => kind === 'authority-changed' && level === 'error'));
    expect((await call({ token: await token() })).code).toBe(0);
    copyFileSync(join(parent, 'good.pem'), path);
    await new Promise((done) => setTimeout(done, 1200));
    expect((await call({ token: await token() })).code).toBe(0);
    expect(notices.filter(({ kind, level }) => kind === 'authority-changed' && level === 'error')).toHaveLength(1);
  });

  it('takes up another intermediate of its root, and renews what the one before signed', async () => {
    const first = await call({ token: await token() });
    const key = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
    const root = readFileSync(join(directory, 'root-cert.pem'), 'utf8');
    const rootKey = createPrivateKey(readFileSync(join(directory, 'root-key.pem')));
    const times = { notBefore: Date.now() - 60_000, notAfter: Date.now() + 86_400_000 };
    const subject = { commonName: 'Second' };
    const certificate = await issueCertificate({
      ...rootOptions(trustDomain, key),
      subject,
      issuer: root,
      issuerKey: rootKey,
      ...times,
    });
    writeFileSync(join(directory, 'ca-key.pem'), key.export({ type: 'pkcs8', format: 'pem' }));
    // A look between the two finds halves that do not belong together, and waits.
    await new Promise((done) => setTimeout(done, 1200));
    expect((await call({ token: await token() })).chain[1]).toBe(first.chain[1]);
    writeFileSync(join(directory, 'ca-cert.pem'), certificate);
    writeFileSync(join(directory, 'cert-chain.pem'), certificate);
    await until(async () => (await call({ token: await token() })).chain[1] === certificate);
    const renewed = await call({ certificate: certificateOf(first) });
    expect([renewed.code, renewed.chain[1]]).toEqual([0, certificate]);
    await server.close(0);
    await start();
    expect((await call({ certificate: { chain: first.chain[0]!, key: first.key } })).code).toBe(0);
  });

  it('certifies RSA and P-384 keys as they are', async () => {
    for (const key of [
      generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey,
      generateKeyPairSync('ec', { namedCurve: 'secp384r1' }).privateKey,
    ]) {
      const answer = await call({ token: await token(), key });
      expect(new X509Certificate(answer.chain[0]!).checkPrivateKey(key)).toBe(true);
    }
  });

  it('lets calls finish when it is closed, and is gone then', async () => {
    const gone = closed(await shake());
    const under = Promise.all(Array.from({ length: 5 }, async () => call({ token: await token() })));
    await until(() => notices.filter(({ kind }) => kind === 'certificate-issued').length > 0);
    // Far more than the test has: it waits for the calls alone.
    await server.close(hour);
    const codes = (await under).map(({ code }) => code);
    expect(codes.every((code) => code === 0 || code === status.UNAVAILABLE)).toBe(true);
    await gone;
    expect((await call({ token: await token() })).code).toBe(status.UNAVAILABLE);
  });

  it('keeps no join token good over a restart that was used before it', async () => {
    const made = await createJoinToken({ directory, trustDomain, namespace: 'shop', serviceAccount: 'gateway', lifeSeconds: 60 });
    const other = await createJoinToken({
      directory,
      trustDomain,
      namespace: 'shop',
      serviceAccount: 'gateway',
      lifeSeconds: 60,
    });
    expect((await call({ token: made.token })).code).toBe(0);
    await server.close(0);
    await start();
    expect((await call({ token: made.token })).code).toBe(status.UNAUTHENTICATED);
    expect((await call({ token: other.token })).code).toBe(0);
  });
});
