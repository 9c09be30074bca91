import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createJoinToken, findJoinToken, sweepJoinTokens } from './join-tokens.js';

let directory = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'enmesh-join-'));
  mkdirSync(join(directory, 'tokens'));
});
afterEach(() => rmSync(directory, { recursive: true }));

const now = Date.UTC(2026, 0, 1);
const files = (): string[] => readdirSync(join(directory, 'tokens'));
const make = (more: object = {}) =>
  createJoinToken({
    directory,
    trustDomain: 'cluster.local',
    namespace: 'shop',
    serviceAccount: 'gateway',
    lifeSeconds: 60,
    clock: () => now,
    ...more,
  });

describe('a join token', () => {
  it('has 256 random bits, and only its hash is stored, for its owner alone', async () => {
    const [first, second] = [await make(), await make()];
    expect(first.token).toMatch(/^enmesh-join\.[\w-]{43}$/);
    expect(first.token).not.toBe(second.token);
    expect(first).toMatchObject({ identity: 'spiffe://cluster.local/ns/shop/sa/gateway', expiresAt: now + 60_000 });
    const secret = first.token.slice('enmesh-join.'.length);
    for (const name of files()) {
      const path = join(directory, 'tokens', name);
      expect(name + readFileSync(path, 'utf8')).not.toContain(secret);
      if (process.platform !== 'win32') expect(statSync(path).mode & 0o777).toBe(0o600);
    }
  });

  it('is found until it ends, for the identity it was made for', async () => {
    const { token, id } = await make();
    expect(await findJoinToken(directory, token, now + 59_999)).toMatchObject({
      id,
      namespace: 'shop',
      serviceAccount: 'gateway',
    });
    expect(await findJoinToken(directory, token, now + 60_000)).toBeUndefined();
  });

  it('is used up once, by one of many that try at the same time', async () => {
    const { token } = await make();
    const found = await Promise.all(Array.from({ length: 20 }, () => findJoinToken(directory, token, now)));
    const taken = await Promise.all(found.map((one) => one?.take()));
    expect(taken.filter((won) => won === true)).toHaveLength(1);
    expect(taken.filter((won) => won === false)).toHaveLength(19);
    expect(await findJoinToken(directory, token, now)).toBeUndefined();
    expect(files()).toEqual([]);
  });

  it.each(['', 'enmesh-join.', 'enmesh-join.../../etc/passwd', `enmesh-join.${'A'.repeat(43)}`, `enmesh-join.${'A'.repeat(44)}`])(
    'is not found in %j',
    async (text) => {
      await make();
      expect(await findJoinToken(directory, text, now)).toBeUndefined();
    },
  );

  it('is not found with one letter changed', async () => {
    const { token } = await make();
    const other = token.slice(0, 20) + (token[20] === 'A' ? 'B' : 'A') + token.slice(21);
    expect(await findJoinToken(directory, other, now)).toBeUndefined();
  });

  it.each([
    { lifeSeconds: 0 },
    { lifeSeconds: 2_592_001 },
    { lifeSeconds: 1.5 },
    { serviceAccount: 'a/b' },
    { namespace: '' },
    { directory: '/nowhere' },
  ])('is not made with %j', async (more) => {
    await expect(make(more)).rejects.toThrow(expect.objectContaining({ code: 'ENMESH_CA_TOKEN' }));
  });

  it('is swept away when it has ended, as are files that a crash cut off', async () => {
    const { token } = await make({ lifeSeconds: 600 });
    await make();
    for (const name of ['old.json', 'new.json']) writeFileSync(join(directory, 'tokens', name), '{"name');
    utimesSync(join(directory, 'tokens', 'old.json'), 0, 0);
    utimesSync(join(directory, 'tokens', 'new.json'), now / 1000, now / 1000);
    await sweepJoinTokens(directory, now + 61_000);
    expect(files()).toHaveLength(2);
    expect(files()).toContain('new.json');
    expect(await findJoinToken(directory, token, now)).toBeDefined();
  });
});
