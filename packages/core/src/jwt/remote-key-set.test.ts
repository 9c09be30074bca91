import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generateKeyPairSync } from 'node:crypto';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { noticeEvents, type NoticeEvent } from '../telemetry/events.js';
import { createTestClock, type TestClock } from '../testing/clock.js';
import { createTestIssuer, type TestIssuer } from '../testing/issuer.js';
import { createSnapshotStore } from './key-set-snapshot.js';
import { createRemoteKeySet, type RemoteKeySet } from './remote-key-set.js';
import { untilHolds } from '../../../../test/support/waiting.js';

const minute = 60_000;
const hour = 60 * minute;
const source = {
  kind: 'remote' as const,
  id: 'x',
  issuer: 'https://idp.test',
  uri: 'https://user:secret@idp.test/jwks?key=secret',
  timeoutMs: 5_000,
  policy: 'shop/jwt',
};

let issuer: TestIssuer;
beforeAll(async () => {
  issuer = await createTestIssuer({ alg: 'ES256' });
});

let clock: TestClock;
let heard: NoticeEvent[];
let directory: string;
let sets: RemoteKeySet[];
let unsubscribe: () => void;
/** What the issuer answers, an Error when it is down. */
let answer: { body: string; maxAgeMs?: number } | Error;
let fetches: number;
beforeEach(() => {
  clock = createTestClock();
  heard = [];
  sets = [];
  fetches = 0;
  answer = { body: issuer.jwksText };
  directory = join(mkdtempSync(join(tmpdir(), 'enmesh-keys-')), 'keys');
  unsubscribe = noticeEvents.subscribe((event) => void heard.push(event));
});
afterEach(() => {
  unsubscribe();
  for (const set of sets) set.close();
  rmSync(join(directory, '..'), { recursive: true, force: true });
});

function start(options: { random?: number; snapshot?: boolean } = {}): RemoteKeySet {
  const set = createRemoteKeySet({
    source,
    insecureHttp: () => false,
    authorities: undefined,
    isMeshHost: () => false,
    clock: clock.now,
    timer: clock.timer,
    random: () => options.random ?? 0.999,
    inherited: undefined,
    snapshot: options.snapshot === true ? createSnapshotStore(directory, source) : undefined,
    async fetchText() {
      fetches++;
      if (answer instanceof Error) throw answer;
      return { status: 200, contentType: 'application/json', ...answer };
    },
  });
  sets.push(set);
  return set;
}
const settle = async (): Promise<void> => {
  for (let i = 0; i < 30; i++) await Promise.resolve();
};
const kinds = (): string[] => heard.map(({ kind, level }) => `${kind} ${level}`);

describe('the refresh of a key set', () => {
  it.each([
    ['what its headers say', 5 * minute, 5 * minute],
    ['20 minutes where they say more', 24 * hour, 20 * minute],
    ['one minute where they say less', 0, minute],
    ['20 minutes where they say nothing', undefined, 20 * minute],
  ])('comes before %s has passed', async (_, maxAgeMs, within) => {
    answer = { body: issuer.jwksText, ...(maxAgeMs === undefined ? {} : { maxAgeMs }) };
    for (const random of [0, 0.999999]) {
      await start({ random }).tried;
      const before = fetches;
      clock.advance(within * 0.8 - 1);
      await settle();
      expect(fetches).toBe(before);
      clock.advance(within * 0.2 + 1);
      await settle();
      expect(fetches).toBeGreaterThan(before);
      sets.pop()?.close();
    }
  });

  it('has a removed key gone within 20 minutes while the issuer can be reached', async () => {
    const rotating = await createTestIssuer({ alg: 'ES256' });
    answer = { body: rotating.jwksText, maxAgeMs: 365 * 24 * hour };
    const set = start();
    await set.tried;
    await rotating.rotate();
    answer = { body: rotating.jwksText };
    clock.advance(20 * minute);
    await settle();
    expect(set.keys.map(({ kid }) => kid)).toEqual(['key-2']);
  });

  it('refuses a set that shows a private key and stays with the last good one', async () => {
    const set = start();
    await set.tried;
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const open = { ...privateKey.export({ format: 'jwk' }), kid: 'open' };
    answer = { body: JSON.stringify({ keys: [...issuer.jwks.keys, open] }) };
    clock.advance(20 * minute);
    await settle();
    expect(set.keys.map(({ kid }) => kid)).toEqual(['key-1']);
    expect(heard.at(-1)).toMatchObject({ kind: 'key-set-failed', code: 'ENMESH_JWT_KEY_SET_INVALID' });
    expect(JSON.stringify(heard)).not.toContain(open.d);
  });
});

describe('the state of a key set', () => {
  it('is told from waiting over fresh and stale to unavailable and back, with an event at each turn', async () => {
    const set = start();
    expect(set.status()).toMatchObject({ state: 'waiting', keys: 0, fetchedAt: undefined, usableUntil: undefined });
    await set.tried;
    const fetchedAt = clock.now();
    expect(set.status()).toEqual({
      issuer: 'https://idp.test',
      place: 'at https://idp.test/jwks',
      state: 'fresh',
      keys: 1,
      fetchedAt,
      usableUntil: fetchedAt + 24 * hour,
      failures: 0,
      restored: false,
      generation: 1,
    });
    answer = new Error('down');
    clock.advance(20 * minute);
    await settle();
    expect(set.status()).toMatchObject({ state: 'stale', keys: 1, failures: 1, fetchedAt });
    while (clock.now() <= fetchedAt + 24 * hour) {
      clock.advance(10 * minute);
      await settle();
    }
    expect(set.status()).toMatchObject({ state: 'unavailable', fetchedAt });
    expect(kinds().filter((kind) => kind.startsWith('key-set-expired'))).toEqual(['key-set-expired error']);
    answer = { body: issuer.jwksText };
    clock.advance(66 * minute);
    await settle();
    expect(set.status()).toMatchObject({ state: 'fresh', failures: 0 });
    expect(kinds().at(-1)).toBe('key-set-refreshed info');
  });

  it('is unavailable when nothing could ever be fetched', async () => {
    answer = new Error('down');
    const set = start();
    await set.tried;
    expect(set.status()).toMatchObject({ state: 'unavailable', failures: 1 });
  });
});

describe('a snapshot on disk', () => {
  /** A set that was fetched and kept, as of `clock.now()`. */
  async function kept(): Promise<string> {
    const set = start({ snapshot: true });
    await set.tried;
    const file = await untilHolds(() => {
      const [name = ''] = readdirSync(directory).filter((found) => found.endsWith('.json'));
      expect(name).not.toBe('');
      return join(directory, name);
    });
    set.close();
    answer = new Error('down');
    heard.length = 0;
    return file;
  }

  it('lets a restart go on while the issuer is down, and is stale until the issuer answers', async () => {
    await kept();
    const fetchedAt = clock.now();
    clock.advance(hour);
    const set = start({ snapshot: true });
    await set.tried;
    expect(set.status()).toMatchObject({
      state: 'stale',
      keys: 1,
      restored: true,
      fetchedAt,
      usableUntil: fetchedAt + 24 * hour,
    });
    expect(kinds()).toEqual(['key-set-restored warn', 'key-set-failed warn']);
    answer = { body: issuer.jwksText };
    clock.advance(2 * minute);
    await settle();
    expect(set.status()).toMatchObject({ state: 'fresh', restored: false });
  });

  it('is read by nobody else, and never found half written', async () => {
    const file = await kept();
    expect([statSync(file).mode & 0o777, statSync(directory).mode & 0o777]).toEqual([0o600, 0o700]);
    expect(readdirSync(directory)).toHaveLength(1);
    const text = readFileSync(file, 'utf8');
    for (let length = 0; length < text.length; length += 7) {
      writeFileSync(file, text.slice(0, length));
      const set = start({ snapshot: true });
      await set.tried;
      expect(set.keys).toEqual([]);
      set.close();
    }
  });

  it('is not looked at while the issuer answers', async () => {
    const file = await kept();
    answer = { body: '{"keys":[]}' };
    const set = start({ snapshot: true });
    await set.tried;
    expect(set.keys).toEqual([]);
    expect(set.status()).toMatchObject({ state: 'fresh', restored: false });
    await untilHolds(() => expect(readFileSync(file, 'utf8')).toContain('{\\"keys\\":[]}'));
  });

  it('counts for 24 hours from the fetch, however often the process starts', async () => {
    await kept();
    clock.advance(24 * hour - minute);
    const last = start({ snapshot: true });
    await last.tried;
    expect(last.keys).toHaveLength(1);
    clock.advance(minute + 1);
    expect(last.status()).toMatchObject({ state: 'unavailable' });
    const late = start({ snapshot: true });
    await late.tried;
    expect(late.keys).toEqual([]);
    expect(kinds()).toContain('key-set-snapshot-failed warn');
  });

  it('of the future is refused', async () => {
    await kept();
    clock.advance(-hour);
    const set = start({ snapshot: true });
    await set.tried;
    expect(set.keys).toEqual([]);
  });

  it.each<[string, (file: string, text: string) => void]>([
    ['readable by others', (file) => chmodSync(file, 0o640)],
    [
      'a link',
      (file, text) => (rmSync(file), writeFileSync(`${file}.real`, text, { mode: 0o600 }), symlinkSync(`${file}.real`, file)),
    ],
    ['a directory', (file) => (rmSync(file), mkdirSync(file))],
    ['of another issuer', (file, text) => writeFileSync(file, text.replace('idp.test', 'idp.evil'))],
    ['of another version', (file, text) => writeFileSync(file, text.replace('"version":1', '"version":2'))],
    ['with a name twice', (file, text) => writeFileSync(file, text.replace('{', '{"fetchedAt":1,'))],
    ['with a private key', (file, text) => writeFileSync(file, text.replace('\\"x\\":', '\\"d\\":\\"AAAA\\",\\"x\\":'))],
    ['HTML', (file) => writeFileSync(file, '<html>')],
    ['larger than any set', (file) => writeFileSync(file, ' '.repeat(3 * 1024 * 1024))],
  ])('that is %s is not used, and one event says so', async (_, damage) => {
    const file = await kept();
    damage(file, readFileSync(file, 'utf8'));
    const set = start({ snapshot: true });
    await set.tried;
    expect(set.status()).toMatchObject({ state: 'unavailable', keys: 0 });
    expect(kinds()).toEqual(['key-set-snapshot-failed warn', 'key-set-failed error']);
    expect(heard[0]?.code).toBe('ENMESH_JWT_SNAPSHOT');
  });

  it('that cannot be written costs an event and nothing else', async () => {
    writeFileSync(directory, '');
    const set = start({ snapshot: true });
    await set.tried;
    await untilHolds(() => expect(kinds()).toEqual(['key-set-refreshed info', 'key-set-snapshot-failed warn']));
    expect(set.status()).toMatchObject({ state: 'fresh' });
  });
});
