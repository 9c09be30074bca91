import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { X509Certificate } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import ts from 'typescript';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { noticeEvents, type NoticeEvent } from '../telemetry/events.js';
import { createTestClock } from '../testing/clock.js';
import { parsePem } from '../x509/pem.js';
import { readCertificateFacts } from '../x509/certificate-facts.js';
import { verifySvidChain } from '../x509/svid-verify.js';
import { createDevIdentity, type DevIdentity, type DevIdentityOptions } from './dev-authority.js';
import { heard } from '../../../../test/support/waiting.js';

const hour = 3_600_000;
const workload = { namespace: 'shop', serviceAccount: 'gateway', labels: {} };
const start = Date.UTC(2026, 0, 1);

let base = '';
let directory = '';
let authority = '';
let open: DevIdentity[] = [];
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'enmesh-dev-'));
  directory = join(base, 'a', '.enmesh');
  authority = join(directory, 'authority.pem');
});
afterEach(() => {
  for (const identity of open) identity.close();
  open = [];
  rmSync(base, { recursive: true });
});

const create = async (change: Partial<DevIdentityOptions> = {}): Promise<DevIdentity> => {
  const identity = await createDevIdentity({
    directory,
    workload,
    trustDomain: 'cluster.local',
    env: {},
    clock: () => start,
    ...change,
  });
  open.push(identity);
  return identity;
};
const refused = (code: string, message: RegExp) => expect.objectContaining({ code, message: expect.stringMatching(message) });
const verify = (identity: DevIdentity, by: DevIdentity, now = start) => {
  const [leaf = Buffer.alloc(0), ...intermediates] = parsePem(identity.svid.current().chain, 'CERTIFICATE');
  return verifySvidChain({ leaf, intermediates, bundles: by.bundles.current(), now }).uri;
};
const mode = (path: string) => statSync(path).mode & 0o777;
const posix = process.platform !== 'win32';

describe('createDevIdentity', () => {
  it('gives an SVID of one hour, from a minute ago, signed by the authority in the directory', async () => {
    const identity = await create();
    await identity.ready();
    const svid = identity.svid.current();
    expect(svid.id.uri).toBe('spiffe://cluster.local/ns/shop/sa/gateway');
    expect([svid.notBefore, svid.notAfter]).toEqual([start - 60_000, start + hour]);
    expect(svid.privateKey.asymmetricKeyDetails).toEqual({ namedCurve: 'prime256v1' });
    expect(verify(identity, identity)).toBe(svid.id.uri);
  });

  it('makes a root of ten years for the trust domain', async () => {
    const identity = await create({ trustDomain: 'td.example' });
    const [root = Buffer.alloc(0)] = parsePem(identity.bundles.current().get('td.example')?.roots[0] ?? '', 'CERTIFICATE');
    const facts = readCertificateFacts(root);
    expect(facts).toMatchObject({ uriSans: ['spiffe://td.example'], isCa: true });
    expect(new Date(facts.notAfter).getUTCFullYear()).toBe(2035 + 1 - (facts.notAfter < Date.UTC(2036, 0, 1) ? 1 : 0));
    expect(facts.notAfter - facts.notBefore).toBeGreaterThan(3_650 * 24 * hour);
  });

  it.runIf(posix)('keeps the key to its user: directory 0700, file 0600, and out of git', async () => {
    await create();
    expect([mode(directory), mode(authority)]).toEqual([0o700, 0o600]);
    expect(readdirSync(directory).sort()).toEqual(['.gitignore', 'authority.pem', 'root-cert.pem']);
    expect(readFileSync(join(directory, '.gitignore'), 'utf8')).toBe('*\n');
    expect(readFileSync(join(directory, 'root-cert.pem'), 'utf8')).not.toContain('PRIVATE');
    expect(() => new X509Certificate(readFileSync(join(directory, 'root-cert.pem')))).not.toThrow();
  });

  it('finds the authority again: processes that share the directory trust each other', async () => {
    const first = await create();
    const text = readFileSync(authority, 'utf8');
    const second = await create({ workload: { ...workload, serviceAccount: 'stock' } });
    expect(readFileSync(authority, 'utf8')).toBe(text);
    expect(verify(second, first)).toBe('spiffe://cluster.local/ns/shop/sa/stock');
    const stranger = await create({ directory: join(base, 'other') });
    expect(() => verify(stranger, first)).toThrow(refused('ENMESH_X509_UNTRUSTED', /does not sign/));
  });

  it('renews the SVID by itself and stops when closed', async () => {
    const clock = createTestClock(start);
    const identity = await create({ clock: clock.now, timer: clock.timer, random: () => 0.5 });
    const { serial } = identity.svid.current();
    const renewed = new Promise((resolve) => identity.svid.watch(resolve));
    for (let minute = 0; minute < 30; minute++) clock.advance(60_000);
    await renewed;
    expect(identity.svid.current().serial).not.toBe(serial);
    expect(verify(identity, identity, clock.now())).toMatch(/gateway$/);
    identity.close();
    expect(() => identity.svid.current()).toThrow(expect.objectContaining({ code: 'ENMESH_IDENTITY_NONE' }));
    expect(clock.pending).toBe(0);
  });

  it('never lets an SVID outlive the root', async () => {
    const root = await create();
    const end = new X509Certificate(root.bundles.current().get('cluster.local')?.roots[0] ?? '').validTo;
    const late = await create({ clock: () => Date.parse(end) - 1000 });
    expect(late.svid.current().notAfter).toBe(Date.parse(end));
  });

  it.each([NaN, Infinity, 0, 999, -1])('refuses a life of %d ms', async (ttlMs) => {
    await expect(create({ ttlMs })).rejects.toThrow(TypeError);
  });

  it.each([
    [{ trustDomain: 'Cluster' }, 'ENMESH_IDENTITY_TRUST_DOMAIN_INVALID'],
    [{ workload: { ...workload, namespace: '' } }, 'ENMESH_IDENTITY_SPIFFE_ID_INVALID'],
    [{ workload: { ...workload, serviceAccount: 'a/b' } }, 'ENMESH_IDENTITY_SPIFFE_ID_INVALID'],
  ])('refuses %o before it touches the disk', async (change, code) => {
    await expect(create(change)).rejects.toThrow(expect.objectContaining({ code }));
    expect(existsSync(directory)).toBe(false);
  });
});

describe('where it looks like production', () => {
  it('refuses to start, and leaves the disk alone', async () => {
    const attempt = create({ env: { NODE_ENV: 'production' } });
    await expect(attempt).rejects.toThrow(refused('ENMESH_ISSUANCE_REFUSED_HERE', /NODE_ENV is production/));
    expect(existsSync(directory)).toBe(false);
  });

  it('starts when told to, and says so', async () => {
    const notices: NoticeEvent[] = [];
    const stop = noticeEvents.subscribe((notice) => void notices.push(notice));
    await create({ env: { K_SERVICE: 'shop' }, allowAnywhere: true });
    stop();
    expect(notices).toContainEqual(
      expect.objectContaining({ kind: 'insecure-option', message: expect.stringContaining('Cloud Run') }),
    );
  });
});

describe('an authority that cannot be used', () => {
  const cases: readonly [string, () => void, RegExp][] = [
    ['empty', () => writeFileSync(authority, ''), /one root certificate/],
    ['no PEM', () => writeFileSync(authority, 'garbage'), /one root certificate/],
    ['cut off', () => writeFileSync(authority, readFileSync(authority, 'utf8').slice(0, -40)), /does not end/],
    [
      'without its key',
      () => writeFileSync(authority, readFileSync(authority, 'utf8').replace(/-----BEGIN PRIVATE[^]*?PRIVATE KEY-----\n/, '')),
      /found 0/,
    ],
    [
      'with a broken key',
      () => writeFileSync(authority, readFileSync(authority, 'utf8').replace('MIG', 'MIH')),
      /cannot be read/,
    ],
    ['a directory', () => (rmSync(authority), mkdirSync(authority)), /is no regular file/],
    ['too large', () => writeFileSync(authority, ' '.repeat(70_000)), /bigger than 65536 bytes/],
    ['a link in a circle', () => (rmSync(authority), symlinkSync(authority, authority)), /ELOOP/],
  ];
  it.each(cases)('is refused with file and remedy and never overwritten when it is %s', async (_, spoil, reason) => {
    await create();
    spoil();
    const before = statSync(directory).mtimeMs;
    await expect(create()).rejects.toThrow(refused('ENMESH_ISSUANCE_AUTHORITY_UNUSABLE', reason));
    await expect(create()).rejects.toThrow(
      refused('ENMESH_ISSUANCE_AUTHORITY_UNUSABLE', /authority\.pem is not usable.*(delete it)/),
    );
    expect(statSync(directory).mtimeMs).toBe(before);
  });

  it('is refused with the key of another', async () => {
    await create();
    await create({ directory: join(base, 'other') });
    const key = /-----BEGIN PRIVATE[^]*?PRIVATE KEY-----\n/;
    const foreign = key.exec(readFileSync(join(base, 'other', 'authority.pem'), 'utf8'))?.[0] ?? '';
    writeFileSync(authority, readFileSync(authority, 'utf8').replace(key, foreign));
    await expect(create()).rejects.toThrow(refused('ENMESH_ISSUANCE_AUTHORITY_UNUSABLE', /do not belong together/));
  });

  it('is refused for another trust domain', async () => {
    await create();
    await expect(create({ trustDomain: 'td.example' })).rejects.toThrow(
      refused('ENMESH_ISSUANCE_AUTHORITY_UNUSABLE', /spiffe:\/\/cluster\.local, not for spiffe:\/\/td\.example/),
    );
  });

  it.runIf(posix)('is refused when others may read the key or write the directory', async () => {
    await create();
    chmodSync(authority, 0o640);
    await expect(create()).rejects.toThrow(refused('ENMESH_ISSUANCE_AUTHORITY_UNUSABLE', /other users.*640.*chmod 600/));
    chmodSync(authority, 0o600);
    chmodSync(directory, 0o777);
    await expect(create()).rejects.toThrow(refused('ENMESH_ISSUANCE_AUTHORITY_UNUSABLE', /other users.*777.*chmod 700/));
  });

  it('is refused while the clock stands before its beginning', async () => {
    await create();
    const attempt = create({ clock: () => start - 2 * 60_000 });
    await expect(attempt).rejects.toThrow(refused('ENMESH_ISSUANCE_CLOCK', /2025-12-31T23:58:00.*Set the clock/));
  });

  it('is refused after its end', async () => {
    await create();
    const attempt = create({ clock: () => start + 11 * 366 * 24 * hour });
    await expect(attempt).rejects.toThrow(refused('ENMESH_ISSUANCE_AUTHORITY_EXPIRED', /Delete the directory/));
  });

  it('cannot be made where the directory is a file', async () => {
    writeFileSync(join(base, 'a'), '');
    await expect(create()).rejects.toThrow(refused('ENMESH_ISSUANCE_AUTHORITY_UNUSABLE', /cannot be used.*ENOTDIR|EEXIST/));
  });

  it('is made once the lock of a process that died has been taken over', async () => {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const dead = spawn(process.execPath, ['-e', '']);
    await once(dead, 'exit');
    writeFileSync(join(directory, 'authority.lock'), JSON.stringify({ pid: dead.pid, host: hostname(), token: 'x' }));
    await create();
    expect(existsSync(authority)).toBe(true);
    expect(existsSync(join(directory, 'authority.lock'))).toBe(false);
  });
});

describe('processes of their own', () => {
  // Children cannot read TypeScript, so what they need of the sources is translated for them, beside node_modules where node-forge is found.
  const source = resolve(import.meta.dirname, '..');
  const repository = resolve(source, '../../..');
  let built = '';
  beforeAll(() => {
    mkdirSync(join(repository, 'node_modules/.cache'), { recursive: true });
    built = mkdtempSync(join(repository, 'node_modules/.cache/enmesh-dev-'));
    writeFileSync(join(built, 'package.json'), '{"type":"module"}');
    for (const folder of ['.', 'telemetry', 'identity', 'x509', 'issuance']) {
      mkdirSync(join(built, folder), { recursive: true });
      for (const file of readdirSync(join(source, folder))) {
        if (!/^[a-z0-9-]+\.ts$/.test(file)) continue;
        const options = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022, verbatimModuleSyntax: true };
        const { outputText } = ts.transpileModule(readFileSync(join(source, folder, file), 'utf8'), { compilerOptions: options });
        writeFileSync(join(built, folder, file.replace(/\.ts$/, '.js')), outputText);
      }
    }
  });
  afterAll(() => rmSync(built, { recursive: true, force: true }));

  const child = (directory: string) => {
    const script = `
      import { createDevIdentity } from ${JSON.stringify(pathToFileURL(join(built, 'issuance/dev-authority.js')).href)};
      process.stdout.write('ready\\n');
      process.stdin.once('data', async () => {
        const workload = { namespace: 'shop', serviceAccount: 'gateway', labels: {} };
        const identity = await createDevIdentity({ directory: ${JSON.stringify(directory)}, workload, trustDomain: 'cluster.local', env: {} });
        process.stdout.write(identity.bundles.current().get('cluster.local').roots[0]);
        process.stdin.unref();
      });`;
    const running = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['pipe', 'pipe', 'inherit'] });
    let output = '';
    running.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
    return { running, ready: heard(running.stdout, 'data'), output: () => output, done: once(running, 'close') };
  };

  it('load node-forge only once something is written', async () => {
    const load = (file: string) => `await import(${JSON.stringify(pathToFileURL(join(built, file)).href)})`;
    const script = `
      import { createRequire } from 'node:module';
      import { generateKeyPairSync } from 'node:crypto';
      const { cache } = createRequire(import.meta.url);
      const count = () => Object.keys(cache).filter((path) => path.includes('node-forge')).length;
      ${load('x509/svid-verify.js')};
      const { issueCertificate, rootOptions } = ${load('x509/certificate.js')};
      const before = count();
      const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
      await issueCertificate({ ...rootOptions('td', privateKey), notBefore: 0, notAfter: 1000 });
      process.stdout.write(JSON.stringify([before, count() > 0]));`;
    const running = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    let output = '';
    running.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
    await once(running, 'close');
    expect(JSON.parse(output)).toEqual([0, true]);
  });

  it('make one authority when three start at the same moment, four times out of four; none of them is kept alive by its renewal', async () => {
    const directories = Array.from({ length: 4 }, (_, index) => join(base, String(index)));
    for (const directory of directories) {
      const children = [1, 2, 3].map(() => child(directory));
      await Promise.all(children.map(({ ready }) => ready));
      for (const { running } of children) running.stdin.end('go');
      const codes = await Promise.all(children.map(async ({ done }) => (await done)[0] as number));
      expect(codes).toEqual([0, 0, 0]);
      const roots = new Set(children.map(({ output }) => output()));
      expect(roots.size).toBe(1);
      expect([...roots][0]).toContain(readFileSync(join(directory, 'root-cert.pem'), 'utf8').trim());
      expect(readdirSync(directory).sort()).toEqual(['.gitignore', 'authority.pem', 'root-cert.pem']);
    }
  });
});
