import { generateKeyPairSync } from 'node:crypto';
import { setImmediate as settled } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { EnmeshError } from '../errors.js';
import { parseSpiffeId } from '../identity/spiffe-id.js';
import type { X509Svid } from '../identity/svid.js';
import { noticeEvents, renewalFailures, type NoticeEvent } from '../telemetry/events.js';
import { createTestClock } from '../testing/clock.js';
import { createRotation, type Rotation, type RotationOptions } from './rotation.js';

const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
const none = expect.objectContaining({ code: 'ENMESH_IDENTITY_NONE' });

let clock = createTestClock();
let notices: NoticeEvent[] = [];
let stop = (): void => {};
let rotation: Rotation | undefined;
let issued = 0;

beforeEach(() => {
  clock = createTestClock();
  notices = [];
  issued = 0;
  stop = noticeEvents.subscribe((notice) => void notices.push(notice));
});
afterEach(() => {
  stop();
  rotation?.close();
});

const svid = (life = hour, from = clock.now() - minute): X509Svid => ({
  id: parseSpiffeId('spiffe://td/ns/a/sa/b'),
  chain: '',
  privateKey,
  notBefore: from,
  notAfter: clock.now() + life,
  serial: String(++issued),
});

const start = (options: Partial<RotationOptions> = {}): Rotation => {
  rotation = createRotation({ issue: async () => svid(), clock: clock.now, timer: clock.timer, random: () => 0.5, ...options });
  return rotation;
};

/** Moves the clock and lets what that started come to rest. */
const pass = async (ms: number): Promise<void> => {
  for (let left = ms; left > 0; left -= second) {
    clock.advance(Math.min(left, second));
    await settled();
  }
};

const kinds = () => notices.map(({ kind }) => kind);

describe('createRotation', () => {
  it('holds nothing until the first SVID came, then that', async () => {
    const rotation = start();
    expect(() => rotation.svid.current()).toThrow(none);
    await rotation.ready();
    expect(rotation.svid.current().serial).toBe('1');
    expect(kinds()).toEqual(['identity-rotated']);
  });

  it('holds a given first SVID at once', async () => {
    const first = svid();
    const rotation = start({ first });
    expect(rotation.svid.current()).toBe(first);
    await rotation.ready();
  });

  it('refuses a first SVID that is not valid now', () => {
    const early = svid(hour, clock.now() + 1);
    expect(() => start({ first: early })).toThrow(expect.objectContaining({ code: 'ENMESH_ISSUANCE_CLOCK' }));
    expect(() => start({ first: svid(0) })).toThrow(expect.objectContaining({ code: 'ENMESH_ISSUANCE_FAILED' }));
  });

  it.each([
    [0, 0.49],
    [0.5, 0.5],
    [0.9999999, 0.51],
  ])('renews at half of its life: with random %f at %f', async (random, share) => {
    const { svid: source } = start({ first: svid(), random: () => random });
    await pass(share * hour - 2 * second);
    expect(source.current().serial).toBe('1');
    await pass(4 * second);
    expect(source.current().serial).toBe('2');
    await pass(0.6 * hour);
    expect(source.current().serial).toBe('3');
  });

  it.each([
    [{ ratio: 0.25, jitter: 0.05 }, 0.5, 0.75],
    [{ ratio: 0.25, jitter: 0.05 }, 0, 0.7],
    [{ ratio: 0.9, jitter: 0.01 }, 0.5, 0.1],
  ])('renews when the part of life %j is left: with random %f at %f', async (grace, random, share) => {
    const { svid: source } = start({ first: svid(), random: () => random, grace });
    await pass(share * hour - 2 * second);
    expect(source.current().serial).toBe('1');
    await pass(4 * second);
    expect(source.current().serial).toBe('2');
  });

  it('tells every watcher of the new SVID until it stops, even when one throws', async () => {
    const { svid: source } = start({ first: svid() });
    const heard: string[] = [];
    source.watch(() => {
      throw new Error('secret');
    });
    const stop = source.watch(({ serial }) => void heard.push(serial));
    await pass(31 * minute);
    expect(heard).toEqual(['2']);
    stop();
    stop();
    await pass(31 * minute);
    expect(heard).toEqual(['2']);
    expect(kinds()).toContain('identity-renewal-failed');
    expect(JSON.stringify(notices)).not.toContain('secret');
  });

  it('backs off with growing, jittered pauses and keeps the old SVID while it lives', async () => {
    const tries: number[] = [];
    const issue = async () => {
      tries.push(clock.now());
      throw new Error('secret');
    };
    const { svid: source } = start({ first: svid(), issue });
    for (let step = 0; step < 50 * 60 * 4; step++) {
      clock.advance(250);
      await settled();
    }
    const pauses = tries.slice(1).map((at, index) => at - (tries[index] ?? 0));
    expect(pauses.slice(0, 7)).toEqual([750, 1500, 3000, 6000, 12_000, 24_000, 45_000]);
    expect(new Set(pauses.slice(7))).toEqual(new Set([45_000]));
    expect(source.current().serial).toBe('1');
    await pass(10 * minute);
    expect(() => source.current()).toThrow(none);
    expect(JSON.stringify(notices)).not.toContain('secret');
  });

  it('tries several times in what is left of a short life: a source that is back a moment before the end is found in time', async () => {
    const tries: number[] = [];
    const first = svid(4 * second);
    const issue = async () => {
      tries.push(first.notAfter - clock.now());
      throw new Error('down');
    };
    start({ first, issue, random: () => 0.9999999 });
    for (let ms = 0; ms < 4 * second; ms += 10) {
      clock.advance(10);
      await settled();
    }
    expect(tries.length).toBeGreaterThan(2);
    expect(tries.at(-1)).toBeLessThan(260);
  });

  it('asks more often as the end comes near, and within four seconds once there is nothing to show', async () => {
    let isDown = true;
    let tries = 0;
    const issue = async () => {
      tries += 1;
      if (isDown) throw new Error('down');
      return svid();
    };
    const { svid: source } = start({ first: svid(), issue, random: () => 0.9999999 });
    await pass(59 * minute);
    tries = 0;
    await pass(3 * minute);
    expect(() => source.current()).toThrow(none);
    expect(tries).toBeGreaterThan(30);
    expect(tries).toBeLessThan(60);
    isDown = false;
    await pass(5 * second);
    expect(source.current().notAfter).toBeGreaterThan(clock.now());
  });

  it('warns once when the SVID nears its end without renewal, and once when it has expired', async () => {
    const issue = () => Promise.reject(new EnmeshError('ENMESH_ISSUANCE_LOCKED', 'held'));
    start({ first: svid(), issue });
    await pass(44 * minute);
    expect(kinds()).not.toContain('identity-expiring');
    await pass(30 * minute);
    const expiring = notices.filter(({ kind }) => kind === 'identity-expiring');
    expect(expiring.map(({ level }) => level)).toEqual(['warn', 'error']);
    expect(notices.find(({ kind }) => kind === 'identity-renewal-failed')).toMatchObject({
      code: 'ENMESH_ISSUANCE_LOCKED',
      level: 'warn',
    });
  });

  it('tells of the same reason seldom, with the number of its tries, and counts each one', async () => {
    let reason = 'the CA is away';
    let counted = 0;
    const stopCounting = renewalFailures.subscribe(() => void (counted += 1));
    let tries = 0;
    const issue = () => {
      tries += 1;
      return Promise.reject(new EnmeshError('ENMESH_ISSUANCE_CA_UNREACHABLE', reason));
    };
    const failures = () => notices.filter(({ kind }) => kind === 'identity-renewal-failed');
    start({ issue });
    await pass(10 * minute);
    // At once, then after one, two and four minutes, to the next try.
    expect(failures()).toHaveLength(4);
    expect(failures()[1]!.message).toMatch(/^No new SVID: the CA is away \(failed \d+ times in a row\); trying again in \d s$/);
    expect(tries).toBeGreaterThan(100);
    reason = 'the token is empty';
    await pass(30 * second);
    expect(failures()).toHaveLength(5);
    expect(failures()[4]!.details!['failures']).toBeGreaterThan(100);
    expect(counted).toBe(tries);
    stopCounting();
  });

  it('tells of a new trouble at once when there was an SVID in between', async () => {
    const answers = [false, true, false];
    const issue = () => (answers.shift() === true ? Promise.resolve(svid(4 * second)) : Promise.reject(new Error('down')));
    start({ issue });
    await pass(5 * second);
    expect(kinds().slice(0, 3)).toEqual(['identity-renewal-failed', 'identity-rotated', 'identity-renewal-failed']);
  });

  it('recovers when the source does', async () => {
    let broken = true;
    const issue = () => (broken ? Promise.reject(new Error('down')) : Promise.resolve(svid()));
    const { svid: source } = start({ first: svid(), issue });
    await pass(2 * hour);
    expect(() => source.current()).toThrow(none);
    broken = false;
    await pass(2 * minute);
    expect(source.current().notAfter).toBeGreaterThan(clock.now());
  });

  it('counts a throw, an unusable SVID and silence as failures', async () => {
    const answers: (() => Promise<X509Svid>)[] = [
      () => {
        throw new TypeError('secret');
      },
      async () => svid(0),
      async () => svid(hour, clock.now() + second),
      () => new Promise(() => {}),
      async () => svid(),
    ];
    const source = start({ issue: () => (answers.shift() ?? (async () => svid()))() });
    await pass(5 * minute);
    expect(source.svid.current().serial).toBe('3');
    expect(notices.map(({ code }) => code)).toEqual([
      'ENMESH_ISSUANCE_FAILED',
      'ENMESH_ISSUANCE_FAILED',
      'ENMESH_ISSUANCE_CLOCK',
      'ENMESH_ISSUANCE_FAILED',
      undefined,
    ]);
  });

  it('notices within a minute that the clock jumped far ahead', async () => {
    let offset = 0;
    const issue = async () => ({ ...svid(), notAfter: clock.now() + offset + hour });
    rotation = createRotation({ first: svid(), issue, clock: () => clock.now() + offset, timer: clock.timer });
    offset = 5 * hour;
    expect(() => rotation?.svid.current()).toThrow(none);
    await pass(minute);
    expect(rotation.svid.current().serial).toBe('2');
  });

  it('renews at once when it wakes before the beginning of its SVID', async () => {
    let offset = 0;
    const first = svid();
    rotation = createRotation({
      first,
      issue: async () => svid(hour, clock.now() + offset - minute),
      clock: () => clock.now() + offset,
      timer: clock.timer,
    });
    offset = -3 * hour;
    expect(() => rotation?.svid.current()).toThrow(/stands before/);
    await pass(minute);
    expect(rotation.svid.current().serial).toBe('2');
  });

  it('does not wait out a pause that a jump back made long', async () => {
    let offset = 0;
    let broken = true;
    const issue = () =>
      broken ? Promise.reject(new Error('down')) : Promise.resolve(svid(24 * hour, clock.now() + offset - minute));
    rotation = createRotation({ issue, clock: () => clock.now() + offset, timer: clock.timer });
    await settled();
    offset = -10 * hour;
    broken = false;
    await pass(2 * minute);
    expect(rotation.svid.current().serial).toBe('1');
  });

  it('ends when closed: no timer is left, nobody waits, nothing is held', async () => {
    const never = start({ issue: () => new Promise(() => {}) });
    const waiting = never.ready();
    never.close();
    await expect(waiting).rejects.toThrow(none);
    await expect(never.ready()).rejects.toThrow(none);
    const held = start({ first: svid() });
    held.close();
    held.close();
    expect(() => held.svid.current()).toThrow(none);
    await pass(minute);
    expect(clock.pending).toBe(0);
    expect(kinds()).toEqual(['identity-rotated']);
  });

  it('drops an SVID that arrives after it was closed', async () => {
    let give: (svid: X509Svid) => void = () => {};
    const late = start({ issue: () => new Promise((resolve) => (give = resolve)) });
    await settled();
    late.close();
    give(svid());
    await settled();
    expect(() => late.svid.current()).toThrow(none);
    expect(notices).toEqual([]);
  });
});
