import { describe, expect, test } from 'vitest';
import type { FileMark, ScannedFile } from './scan.js';
import { createSettling, type ReadState, type Touch } from './settle.js';

const second = 1_000_000_000n;
const old: FileMark = { identity: '1:100', size: 10n, mtimeNs: 5n * second, ctimeNs: 6n * second };

function state(
  o: { name?: string; real?: string; linked?: boolean; mark?: Partial<FileMark>; digest?: string; torn?: boolean } = {},
): ReadState {
  const name = o.name ?? 'policy.yaml';
  const file: ScannedFile = {
    name,
    real: o.real ?? `/mesh/${name}`,
    linked: o.linked ?? false,
    meshConfig: false,
    mark: { ...old, ...o.mark },
  };
  return { file, digest: o.digest ?? 'a', torn: o.torn ?? false };
}

const at = (ms: number): { startedAt: number; endedAt: number } => ({ startedAt: ms, endedAt: ms + 1 });
const none = new Map<string, Touch>();
const touched = (touch: Touch): Map<string, Touch> => new Map([['/mesh/policy.yaml', touch]]);
const start = 1_000_000;

function quietAfter(
  changes: readonly ReadState[],
  touches: ReadonlyMap<string, Touch> = none,
  before: readonly ReadState[] = [state()],
): number {
  const settling = createSettling();
  settling.observe(before, none, at(start));
  return settling.observe(changes, touches, at(start + 1000));
}

describe('a file that may be half written is told from one that was put there whole', () => {
  const replaced = { identity: '1:200', mtimeNs: 6n * second };
  test.each([
    ['is written in place', [state({ digest: 'b', mark: { mtimeNs: 9n * second, ctimeNs: 9n * second } })], none],
    ['has new content under the same times', [state({ digest: 'b' })], none],
    ['changed while it was read', [state({ torn: true })], none],
    ['is deleted and written anew', [state({ digest: 'b', mark: { ...replaced, ctimeNs: 6n * second } })], none],
    [
      'is written after it was moved into place',
      [state({ digest: 'b', mark: { ...replaced, ctimeNs: 7n * second } })],
      touched('written'),
    ],
    ['is deleted and created anew', [state({ digest: 'b', mark: { ...replaced, size: 0n } })], touched('moved')],
    ['is new and being written', [state(), state({ name: 'new.yaml', mark: { ctimeNs: 5n * second } })], none],
    ['disappears', [], none],
  ])('a file that %s is not quiet', (_, changes, touches) => {
    expect(quietAfter(changes, touches)).toBe(0);
  });

  test.each([
    ['stays as it is', [state()], none],
    ['is replaced by rename', [state({ digest: 'b', mark: { ...replaced, ctimeNs: 7n * second } })], none],
    [
      'is replaced within one tick of the clock, by its events',
      [state({ digest: 'b', mark: { ...replaced, ctimeNs: 6n * second } })],
      touched('moved'),
    ],
    ['leads elsewhere after a symbolic link was swapped', [state({ digest: 'b', real: '/mesh/..2/policy.yaml' })], none],
    ['is new behind a symbolic link', [state(), state({ name: 'new.yaml', linked: true })], none],
  ])('a file that %s came whole', (_, changes, touches) => {
    expect(quietAfter(changes, touches)).toBe(Infinity);
  });

  test('a link that disappears from a ConfigMap is no half-done change', () => {
    expect(quietAfter([], none, [state({ linked: true })])).toBe(Infinity);
  });

  test('events never make a change under the same identity whole', () => {
    expect(quietAfter([state({ digest: 'b' })], touched('moved'))).toBe(0);
  });
});

test('quiet is counted from the last time a change was seen', () => {
  const settling = createSettling();
  settling.observe([state()], none, at(start));
  settling.observe([state({ digest: 'b' })], none, at(start + 100));
  expect(settling.observe([state({ digest: 'b' })], none, at(start + 351))).toBe(250);
  settling.observe([state({ digest: 'c' })], none, at(start + 400));
  expect(settling.observe([state({ digest: 'c' })], none, at(start + 501))).toBe(100);
});

test('a rename over a file that was being written makes it whole', () => {
  const settling = createSettling();
  settling.observe([state()], none, at(start));
  settling.observe([state({ digest: 'b' })], none, at(start + 10));
  const whole = state({ digest: 'c', mark: { identity: '1:300', ctimeNs: 8n * second } });
  expect(settling.observe([whole], none, at(start + 20))).toBe(Infinity);
});

test('a move that is heard during one observation and seen at the next is known to be whole', () => {
  const settling = createSettling();
  settling.observe([state()], none, at(start));
  settling.observe([state()], touched('moved'), at(start + 10));
  const whole = state({ digest: 'b', mark: { identity: '1:300', mtimeNs: 9n * second, ctimeNs: 9n * second } });
  expect(settling.observe([whole], none, at(start + 20))).toBe(Infinity);
  const again = state({ digest: 'c', mark: { identity: '1:400', mtimeNs: 9n * second, ctimeNs: 9n * second } });
  expect(settling.observe([again], none, at(start + 30))).toBe(0);
});

describe('at the first observation', () => {
  const seen = (mtimeMs: number, ctimeMs = mtimeMs): number =>
    createSettling().observe(
      [state({ mark: { mtimeNs: BigInt(mtimeMs) * 1_000_000n, ctimeNs: BigInt(ctimeMs) * 1_000_000n } })],
      none,
      at(start),
    );
  test('a file written a moment ago counts from its own time', () => expect(seen(start - 40)).toBe(40));
  test('a file moved into place a moment ago is whole', () => expect(seen(start - 40, start - 10)).toBe(Infinity));
  test('a file from a clock that is ahead is believed', () => expect(seen(start + 5000)).toBe(Infinity));
  test('an empty set is quiet', () => expect(createSettling().observe([], none, at(start))).toBe(Infinity));
});
