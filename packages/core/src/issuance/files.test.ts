import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { X509Svid } from '../identity/svid.js';
import { noticeEvents, type NoticeEvent } from '../telemetry/events.js';
import { createTestAuthority, type TestAuthority } from '../testing/authority.js';
import { createTestClock } from '../testing/clock.js';
import { createFilesIdentity, type FilesIdentityOptions } from './files.js';
import type { PlatformIdentity } from './provider.js';

const workload = { namespace: 'shop', serviceAccount: 'product', labels: {} };
const minute = 60_000;
const hour = 60 * minute;

let authority: TestAuthority;
let folder: string;
let clock = createTestClock(Date.now());
let notices: NoticeEvent[] = [];
let stop = (): void => {};
let identity: PlatformIdentity | undefined;

beforeAll(async () => {
  authority = await createTestAuthority();
});
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'enmesh-files-'));
  clock = createTestClock(Date.now());
  notices = [];
  stop = noticeEvents.subscribe((notice) => void notices.push(notice));
});
afterEach(async () => {
  stop();
  await identity?.close();
  identity = undefined;
  await rm(folder, { recursive: true, force: true });
});

const open = async (options: Partial<FilesIdentityOptions> = {}): Promise<PlatformIdentity> => {
  const place = options.certificate === undefined ? { directory: folder } : {};
  identity = await createFilesIdentity({
    ...{ workload, trustDomain: 'cluster.local', clock: clock.now, timer: clock.timer },
    ...place,
    ...options,
  });
  return identity;
};

const keyOf = (svid: Pick<X509Svid, 'privateKey'>): string => svid.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
const issue = (options: { readonly notBefore?: number; readonly notAfter?: number } = {}): Promise<X509Svid> =>
  authority.issue({ ...workload, ...options });

const names = ['tls.crt', 'tls.key', 'ca.crt'] as const;
const write = async (svid: X509Svid, where = folder, [chain, key, roots]: readonly string[] = names): Promise<void> => {
  await writeFile(join(where, chain!), svid.chain);
  await writeFile(join(where, key!), keyOf(svid));
  await writeFile(join(where, roots!), authority.rootPem);
};

/** Moves the clock on, second by second, until it is so; what the file system does meanwhile takes the time it takes. */
const until = async (isSo: () => boolean): Promise<void> => {
  for (let turns = 0; !isSo() && turns < 1500; turns++) {
    clock.advance(1000);
    await pause(3);
  }
  expect(isSo()).toBe(true);
};
const pass = async (seconds: number): Promise<void> => {
  for (let left = seconds; left > 0; left--) {
    clock.advance(1000);
    await pause(10);
  }
};
const serial = (): string | undefined => {
  try {
    return identity?.svid.current().serial;
  } catch {
    return undefined;
  }
};
const holds = (svid: X509Svid): Promise<void> => until(() => serial() === svid.serial);
const told = (kind: NoticeEvent['kind']): readonly NoticeEvent[] => notices.filter((notice) => notice.kind === kind);

describe('createFilesIdentity', () => {
  it.each([
    ["Istio's agent", ['cert-chain.pem', 'key.pem', 'root-cert.pem']],
    ['GKE', ['certificates.pem', 'private_key.pem', 'ca_certificates.pem']],
    ['cert-manager', ['tls.crt', 'tls.key', 'ca.crt']],
  ])('finds the layout of %s by the names in the directory', async (_, layout) => {
    const svid = await issue();
    await write(svid, folder, layout);
    const { bundles } = await open();
    await identity!.ready();
    expect(serial()).toBe(svid.serial);
    expect([...bundles.current().keys()]).toEqual(['cluster.local']);
    expect(bundles.current().get('cluster.local')?.roots).toEqual([authority.rootPem]);
  });

  it('takes three files by name, and roots beside a directory that has none', async () => {
    const svid = await issue();
    await write(svid, folder, ['my.crt', 'my.key', 'my-roots.pem']);
    const [certificate, privateKey, roots] = ['my.crt', 'my.key', 'my-roots.pem'].map((name) => join(folder, name));
    await (await open({ certificate: certificate!, privateKey: privateKey!, roots: roots! })).ready();
    expect(serial()).toBe(svid.serial);
    await identity!.close();
    await rename(certificate!, join(folder, 'tls.crt'));
    await rename(privateKey!, join(folder, 'tls.key'));
    await (await open({ directory: folder, roots: roots! })).ready();
    expect(serial()).toBe(svid.serial);
  });

  it('resolves before there is anything, says at once what it looks for, and begins when the files come', async () => {
    const directory = join(folder, 'later', 'certs');
    await open({ directory });
    expect(() => identity!.svid.current()).toThrow(expect.objectContaining({ code: 'ENMESH_IDENTITY_NONE' }));
    await until(() => told('identity-waiting').length > 0);
    await pass(30);
    expect(told('identity-waiting')).toHaveLength(1);
    expect(told('identity-waiting')[0]).toMatchObject({ code: 'ENMESH_ISSUANCE_FILES_ABSENT', level: 'warn' });
    expect(told('identity-waiting')[0]!.message).toContain('cert-chain.pem, key.pem, root-cert.pem');
    const svid = await issue();
    await mkdir(directory, { recursive: true });
    await write(svid, directory);
    await holds(svid);
    await identity!.ready();
  });

  it('takes a renewed certificate, tells of it once, and leaves alone what was written anew without a change', async () => {
    const first = await issue();
    await write(first);
    await (await open()).ready();
    const seen: string[] = [];
    const bundleChanges: number[] = [];
    identity!.svid.watch((svid) => seen.push(svid.serial));
    identity!.bundles.watch((bundles) => bundleChanges.push(bundles.size));
    const held = identity!.svid.current();
    await write(first);
    await pass(15);
    expect(identity!.svid.current()).toBe(held);
    const second = await issue();
    await write(second);
    await holds(second);
    expect(seen).toEqual([second.serial]);
    expect(bundleChanges).toEqual([]);
    expect(told('identity-rotated')).toHaveLength(2);
  });

  it("follows Kubernetes' swap of ..data", async () => {
    const [first, second] = [await issue(), await issue()];
    for (const [name, svid] of [
      ['..1', first],
      ['..2', second],
    ] as const) {
      await mkdir(join(folder, name));
      await write(svid, join(folder, name));
    }
    await symlink('..1', join(folder, '..data'));
    for (const name of names) await symlink(join('..data', name), join(folder, name));
    await (await open()).ready();
    expect(serial()).toBe(first.serial);
    await symlink('..2', join(folder, '..data_tmp'));
    await rename(join(folder, '..data_tmp'), join(folder, '..data'));
    await rm(join(folder, '..1'), { recursive: true });
    await holds(second);
  });

  it('waits for the other half of a pair, tells once after five seconds, and keeps the last good one meanwhile', async () => {
    const [first, second] = [await issue(), await issue()];
    await write(first);
    await (await open()).ready();
    await writeFile(join(folder, 'tls.crt'), second.chain);
    await pass(3);
    expect(serial()).toBe(first.serial);
    await until(() => told('identity-renewal-failed').length > 0);
    await pass(30);
    expect(told('identity-renewal-failed')).toHaveLength(1);
    expect(told('identity-renewal-failed')[0]).toMatchObject({ code: 'ENMESH_X509_KEY_INVALID' });
    expect(serial()).toBe(first.serial);
    await writeFile(join(folder, 'tls.key'), keyOf(second));
    await holds(second);
  });

  it('says nothing of a pair whose other half comes in time', async () => {
    const [first, second] = [await issue(), await issue()];
    await write(first);
    await (await open()).ready();
    await writeFile(join(folder, 'tls.crt'), second.chain.slice(0, 100));
    await pass(2);
    await write(second);
    await holds(second);
    expect(told('identity-renewal-failed')).toEqual([]);
  });

  it.each<[string, string, () => Promise<unknown>]>([
    ['an empty key', 'ENMESH_ISSUANCE_FILES_UNUSABLE', () => writeFile(join(folder, 'tls.key'), '')],
    ['roots of nothing', 'ENMESH_ISSUANCE_FILES_UNUSABLE', () => writeFile(join(folder, 'ca.crt'), '# none\n')],
    ['a file of 10 MB', 'ENMESH_ISSUANCE_FILES_UNUSABLE', () => writeFile(join(folder, 'ca.crt'), Buffer.alloc(10 << 20, 65))],
    [
      'a directory in place of a file',
      'ENMESH_ISSUANCE_FILES_UNUSABLE',
      async () => {
        await rm(join(folder, 'tls.key'));
        await mkdir(join(folder, 'tls.key'));
      },
    ],
    [
      'roots that do not sign it',
      'ENMESH_X509_UNTRUSTED',
      async () => writeFile(join(folder, 'ca.crt'), (await createTestAuthority()).rootPem),
    ],
    [
      'a certificate of another trust domain',
      'ENMESH_ISSUANCE_TRUST_DOMAIN',
      async () => {
        const other = await createTestAuthority({ trustDomain: 'other.example' });
        await writeFile(join(folder, 'ca.crt'), other.rootPem);
        const svid = await other.issue(workload);
        await writeFile(join(folder, 'tls.crt'), svid.chain);
        await writeFile(join(folder, 'tls.key'), keyOf(svid));
      },
    ],
    [
      'a certificate that is no SVID',
      'ENMESH_X509_SVID_INVALID',
      async () => {
        const bad = await authority.issueBad('dns-only', workload);
        await writeFile(join(folder, 'tls.crt'), bad.chain);
        await writeFile(join(folder, 'tls.key'), keyOf(bad));
      },
    ],
    [
      'an expired certificate',
      'ENMESH_X509_OUT_OF_VALIDITY',
      async () => write(await issue({ notBefore: clock.now() - hour, notAfter: clock.now() - minute })),
    ],
    [
      'a certificate of tomorrow',
      'ENMESH_X509_OUT_OF_VALIDITY',
      async () => write(await issue({ notBefore: clock.now() + 24 * hour, notAfter: clock.now() + 48 * hour })),
    ],
    [
      'no files any more',
      'ENMESH_ISSUANCE_FILES_ABSENT',
      async () => {
        for (const name of names) await rm(join(folder, name));
      },
    ],
  ])('does not use %s, keeps what it holds and says why', async (_, code, spoil) => {
    const svid = await issue();
    await write(svid);
    await (await open()).ready();
    await spoil();
    await until(() => told('identity-renewal-failed').length > 0);
    expect(told('identity-renewal-failed')[0]).toMatchObject({ code, level: 'warn' });
    expect(told('identity-renewal-failed')[0]!.message).not.toContain('BEGIN');
    expect(serial()).toBe(svid.serial);
    await rm(join(folder, 'tls.key'), { recursive: true, force: true });
    const next = await issue();
    await write(next);
    await holds(next);
  });

  it.each<[string, RegExp, () => Promise<unknown>]>([
    [
      'an expired certificate',
      /files of .* cannot be used: The SVID of .* is expired: it ended at \d{4}-/,
      async () => write(await issue({ notBefore: clock.now() - hour, notAfter: clock.now() - minute })),
    ],
    [
      'half a chain',
      /the certificate chain: Not a PEM text: a CERTIFICATE block does not end/,
      async () => writeFile(join(folder, 'tls.crt'), (await issue()).chain.slice(0, 300)),
    ],
    [
      'half the roots',
      /the roots of cluster\.local: Not a PEM text/,
      () => writeFile(join(folder, 'ca.crt'), authority.rootPem.slice(0, 300)),
    ],
  ])('says at the start what is wrong with %s, and lists no names of files that are there', async (_, words, spoil) => {
    await write(await issue());
    await spoil();
    await open();
    await until(() => told('identity-waiting').length > 0);
    expect(told('identity-waiting')[0]!.message).toMatch(words);
    expect(told('identity-waiting')[0]!.message).not.toContain('Looked for');
  });

  it('takes a certificate once its time has come', async () => {
    const svid = await issue({ notBefore: clock.now() + 40_000, notAfter: clock.now() + hour });
    await write(svid);
    await open();
    await pass(20);
    expect(serial()).toBeUndefined();
    await holds(svid);
  });

  it('takes an SVID of an alias of the trust domain, and says when the name is not the workload of the configuration', async () => {
    const other = await createTestAuthority({ trustDomain: 'old.example' });
    const svid = await other.issue({ namespace: 'shop', serviceAccount: 'stock' });
    await write(svid);
    await writeFile(join(folder, 'ca.crt'), other.rootPem);
    await (await open({ trustDomainAliases: ['old.example'] })).ready();
    expect(serial()).toBe(svid.serial);
    expect(told('identity-doubtful')[0]?.message).toContain('spiffe://old.example/ns/shop/sa/stock');
  });

  it('holds several roots of its own domain and the bundles of other domains, and goes on without one that cannot be read', async () => {
    const [next, partner] = [await createTestAuthority(), await createTestAuthority({ trustDomain: 'partner.example' })];
    const svid = await issue();
    await write(svid);
    await writeFile(join(folder, 'ca.crt'), authority.rootPem + next.rootPem);
    await writeFile(join(folder, 'partner.pem'), partner.rootPem);
    const federated = { 'partner.example': join(folder, 'partner.pem'), 'absent.example': join(folder, 'absent.pem') };
    await (await open({ federated })).ready();
    expect(identity!.bundles.current().get('cluster.local')?.roots).toEqual([authority.rootPem, next.rootPem]);
    expect(identity!.bundles.current().get('partner.example')?.roots).toEqual([partner.rootPem]);
    expect(identity!.bundles.current().has('absent.example')).toBe(false);
    await until(() => told('identity-waiting').length > 0);
    expect(told('identity-waiting')[0]?.message).toContain('absent.example');
    const held = identity!.svid.current();
    await writeFile(join(folder, 'absent.pem'), partner.rootPem);
    await until(() => identity!.bundles.current().has('absent.example'));
    expect(identity!.svid.current()).toBe(held);
  });

  it('joins the roots of its own domain with those federated under its name', async () => {
    const next = await createTestAuthority();
    await write(await issue());
    await writeFile(join(folder, 'next.pem'), next.rootPem);
    await (await open({ federated: { 'cluster.local': join(folder, 'next.pem') } })).ready();
    expect(identity!.bundles.current().get('cluster.local')?.roots).toEqual([authority.rootPem, next.rootPem]);
  });

  it('warns before the certificate ends, gives none out afterwards, and comes back with the next', async () => {
    const svid = await issue({ notBefore: clock.now() - minute, notAfter: clock.now() + 9 * minute });
    await write(svid);
    await (await open()).ready();
    await until(() => told('identity-expiring').length > 0);
    expect(clock.now()).toBeGreaterThanOrEqual(svid.notAfter - 2 * minute);
    expect(clock.now()).toBeLessThan(svid.notAfter - minute);
    expect(serial()).toBe(svid.serial);
    await until(() => told('identity-expiring').length > 1);
    expect(told('identity-expiring')[1]?.level).toBe('error');
    expect(() => identity!.svid.current()).toThrow(expect.objectContaining({ code: 'ENMESH_IDENTITY_NONE' }));
    const next = await issue({ notAfter: clock.now() + hour });
    await write(next);
    await holds(next);
  });

  it('hears of a change by events, on the real clock', async () => {
    const first = await issue();
    await write(first);
    identity = await createFilesIdentity({ workload, trustDomain: 'cluster.local', directory: folder });
    await identity.ready();
    const changed = new Promise<string>((done) => identity!.svid.watch((svid) => done(svid.serial)));
    const second = await issue();
    await write(second);
    expect(await changed).toBe(second.serial);
  });

  it.each<[string, Partial<FilesIdentityOptions>]>([
    ['neither directory nor files', {}],
    ['both', { directory: '/certs', certificate: '/a', privateKey: '/b', roots: '/c' }],
    ['a certificate without key and roots', { certificate: '/a' }],
  ])('refuses settings that name %s', async (_, settings) => {
    await expect(createFilesIdentity({ workload, trustDomain: 'cluster.local', ...settings })).rejects.toMatchObject({
      code: 'ENMESH_ISSUANCE_FILES_SETTINGS',
    });
  });

  it('ends its wait with an error when it is closed', async () => {
    await open();
    const waiting = identity!.ready();
    await identity!.close();
    await expect(waiting).rejects.toMatchObject({ code: 'ENMESH_IDENTITY_NONE' });
    await until(() => clock.pending === 0);
  });
});
