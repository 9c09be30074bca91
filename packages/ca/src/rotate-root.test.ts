import { X509Certificate } from 'node:crypto';
import { appendFileSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readKeys } from './authority.js';
import { initAuthority } from './make-files.js';
import { readRotation, rotateRoot, type RotationStep } from './rotate-root.js';

const trustDomain = 'cluster.local';
let parent = '';
let directory = '';
let now = Date.UTC(2026, 0, 1);
const hour = 3_600_000;
const clock = (): number => now;
const init = (to = directory) =>
  initAuthority({ directory: to, trustDomain, settings: { name: 'ca.yaml', text: 'trustDomain: cluster.local\n' }, clock });
beforeEach(async () => {
  now = Date.UTC(2026, 0, 1);
  parent = mkdtempSync(join(tmpdir(), 'enmesh-rotate-'));
  directory = join(parent, 'ca');
  await init();
});
afterEach(() => rmSync(parent, { recursive: true }));

const step = (name: RotationStep, more: object = {}) => rotateRoot(name, { directory, trustDomain, clock, ...more });
const keys = () => readKeys(directory, trustDomain, now);
const issued = (time: number, notAfter: number): void => {
  const iso = (ms: number): string => new Date(ms).toISOString();
  appendFileSync(
    join(directory, 'issued.jsonl'),
    `${JSON.stringify({ time: iso(time), serial: '1', identity: 'spiffe://x/ns/a/sa/b', method: 'jwt', proof: 'p', notAfter: iso(notAfter), publicKeySha256: 'a', address: 'b' })}\n`,
  );
};
const refused = expect.objectContaining({ code: 'ENMESH_CA_ROTATION' }) as Error;

describe('a root rotation', () => {
  it('goes from one root over two to the other', async () => {
    const before = await keys();
    expect(before.roots).toHaveLength(1);
    expect(await step('prepare')).toMatchObject({ state: { phase: 'prepared' }, next: 'activate' });
    const prepared = await keys();
    expect(readFileSync(join(directory, 'trust-bundle.pem'), 'utf8')).toBe(prepared.roots.join(''));
    expect(prepared.signer.certificate).toBe(before.signer.certificate);
    expect(prepared.roots).toEqual([before.roots[0], expect.not.stringMatching(before.roots[0] ?? '')]);
    await step('activate');
    const activated = await keys();
    expect(activated.signer.certificate).not.toBe(before.signer.certificate);
    expect(activated.serving.certificate).toBe(before.signer.certificate);
    expect([...activated.roots].sort()).toEqual([...prepared.roots].sort());
    expect(await step('retire')).toMatchObject({
      state: { phase: 'settled', signer: 'root-2', trusted: ['root-2'] },
      next: 'prepare',
    });
    const after = await keys();
    expect(after.roots).toEqual([prepared.roots[1]]);
    expect(readFileSync(join(directory, 'trust-bundle.pem'), 'utf8')).toBe(prepared.roots[1]);
    expect(after.serving).toBe(after.signer);
    expect(existsSync(join(directory, 'ca-key.pem')) || existsSync(join(directory, 'root-key.pem'))).toBe(false);
  });

  it('can be done again and again', async () => {
    for (let round = 2; round < 5; round++) {
      for (const name of ['prepare', 'activate', 'retire'] as const) await step(name);
      expect(await keys()).toMatchObject({ state: { signer: `root-${round}` } });
    }
    const subjects = readdirSync(directory)
      .filter((name) => name.startsWith('root-') && !name.includes('.'))
      .map((name) => new X509Certificate(readFileSync(join(directory, name, 'root-cert.pem'))).subject);
    expect(new Set(subjects).size).toBe(3);
  });

  it.each(['activate', 'retire'] as const)('does not begin with %s', async (name) => {
    await expect(step(name)).rejects.toThrow(refused);
    expect((await keys()).roots).toHaveLength(1);
  });

  it('does not skip a step or repeat one', async () => {
    await step('prepare');
    await expect(step('prepare')).rejects.toThrow(refused);
    await expect(step('retire')).rejects.toThrow(refused);
  });

  it('waits until the certificates of before each step have ended, unless forced', async () => {
    issued(now - hour, now + hour);
    issued(now - 2 * hour, now - hour);
    await step('prepare');
    issued(now + 60_000, now + 24 * hour);
    expect(await readRotation(directory)).toMatchObject({ next: 'activate', safeFrom: now + hour });
    await expect(step('activate')).rejects.toThrow(refused);
    now += hour;
    await step('activate');
    await expect(step('retire')).rejects.toThrow(refused);
    await step('retire', { force: true });
  });

  it('can be made with files from elsewhere, which are tried first', async () => {
    await init(join(parent, 'other'));
    const from = join(parent, 'other');
    await step('prepare', { from });
    expect((await keys()).roots[1]).toBe(readFileSync(join(from, 'root-cert.pem'), 'utf8'));
    expect(existsSync(join(directory, 'root-2', 'root-key.pem'))).toBe(false);
    await step('activate');
    await step('retire');
    writeFileSync(join(from, 'ca-cert.pem'), 'broken');
    await expect(step('prepare', { from })).rejects.toThrow(expect.objectContaining({ code: 'ENMESH_CA_FILES' }));
    expect(readdirSync(directory).filter((name) => name.startsWith('root-3'))).toEqual([]);
  });

  it('is abandoned at once before the new root has signed anything, and its keys go', async () => {
    issued(now - hour, now + hour);
    const before = await keys();
    await step('prepare');
    expect(await step('abandon')).toMatchObject({
      state: { phase: 'settled', signer: '.', serving: '.', trusted: ['.'] },
      next: 'prepare',
    });
    const after = await keys();
    expect([after.roots, after.signer.certificate]).toEqual([before.roots, before.signer.certificate]);
    expect(readFileSync(join(directory, 'trust-bundle.pem'), 'utf8')).toBe(before.roots[0]);
    expect(['ca-key.pem', 'root-key.pem'].filter((name) => existsSync(join(directory, 'root-2', name)))).toEqual([]);
    expect(existsSync(join(directory, 'ca-key.pem'))).toBe(true);
    // Its name is not used again: whoever kept a copy of the keys shall not find them trusted.
    expect(await step('prepare')).toMatchObject({ state: { trusted: ['.', 'root-3'] } });
  });

  it('is abandoned after activation by signing with the old root again; the new one goes when what it signed has ended', async () => {
    const before = await keys();
    await step('prepare');
    await step('activate');
    issued(now + 60_000, now + 2 * hour);
    now += hour;
    const abandoned = await step('abandon');
    expect(abandoned).toMatchObject({
      state: { phase: 'abandoned', signer: '.', serving: '.', trusted: ['.', 'root-2'] },
      next: 'retire',
      safeFrom: now + hour,
    });
    const between = await keys();
    expect(between.signer.certificate).toBe(before.signer.certificate);
    expect(between.roots).toHaveLength(2);
    await expect(step('retire')).rejects.toThrow(/below the abandoned root live until/);
    for (const other of ['abandon', 'activate', 'prepare'] as const) await expect(step(other)).rejects.toThrow(refused);
    now += hour;
    await step('retire');
    const after = await keys();
    expect([after.state, after.roots]).toMatchObject([{ phase: 'settled', signer: '.', trusted: ['.'] }, before.roots]);
    expect(existsSync(join(directory, 'root-2', 'ca-key.pem'))).toBe(false);
    for (const name of ['prepare', 'activate', 'retire'] as const) await step(name, { force: true });
    expect(await keys()).toMatchObject({ state: { signer: 'root-3' } });
  });

  it('cannot be abandoned where none has begun, nor go back to a root that has ended', async () => {
    await expect(step('abandon')).rejects.toThrow(refused);
    await step('prepare');
    await step('activate');
    // The root made first ends: its intermediate lives three years.
    now += 4 * 365 * 24 * hour;
    await expect(step('abandon')).rejects.toThrow(expect.objectContaining({ code: 'ENMESH_CA_EXPIRED' }));
    expect((await readRotation(directory)).state.phase).toBe('activated');
  });

  it.each(['', '{}', '{"version":1', '{"version":1,"phase":"settled","signer":"../x","serving":".","trusted":["."],"since":0}'])(
    'is not guessed at when its state is damaged: %s',
    async (text) => {
      writeFileSync(join(directory, 'state.json'), text);
      await expect(keys()).rejects.toThrow(expect.objectContaining({ code: 'ENMESH_CA_FILES' }));
    },
  );

  it('does not fall back to the old root when its state is gone', async () => {
    for (const name of ['prepare', 'activate'] as const) await step(name);
    rmSync(join(directory, 'state.json'));
    await expect(keys()).rejects.toThrow(/is gone although the root was rotated/);
  });
});

describe('the directory of an authority', () => {
  it('is never overwritten, not even in part', async () => {
    const before = readdirSync(directory).map((name) => [
      name,
      name === 'tokens' ? '' : readFileSync(join(directory, name), 'utf8'),
    ]);
    await expect(init()).rejects.toThrow(expect.objectContaining({ code: 'ENMESH_CA_EXISTS' }));
    expect(
      readdirSync(directory).map((name) => [name, name === 'tokens' ? '' : readFileSync(join(directory, name), 'utf8')]),
    ).toEqual(before);
    expect(readdirSync(parent)).toEqual(['ca']);
  });

  it('is made once by several that make it at the same time', async () => {
    const to = join(parent, 'race');
    const made = await Promise.allSettled(Array.from({ length: 5 }, () => init(to)));
    expect(made.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    await expect(readKeys(to, trustDomain, now)).resolves.toBeDefined();
    expect(readdirSync(parent).sort()).toEqual(['ca', 'race']);
  });
});
