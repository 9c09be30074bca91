import { expect, test } from 'vitest';
import { noticeEvents, type NoticeEvent } from './events.js';
import { evaluateRuntime, isTooOld, reportRuntime } from './runtime.js';

const warningOf = (version: string, day: string): string => evaluateRuntime({ version, now: Date.parse(day) })?.message ?? '';

test.each([
  ['v20.20.2', '2026-05-01', 'v20.20.2 is of a line whose support ended on 2026-04-30'],
  ['v20.19.0', '2030-01-01', 'support ended on 2026-04-30'],
  ['v22.23.0', '2027-05-01', 'support ended on 2027-04-30'],
  ['v24.30.0', '2028-05-01', 'support ended on 2028-04-30'],
  ['v22.22.9', '2026-11-22', 'lacks the security fixes of June 2026, which are in 22.23.0'],
  ['v24.16.4', '2026-11-22', 'which are in 24.17.0'],
  ['v26.3.0', '2026-11-22', 'which are in 26.3.1'],
  ['v25.9.0', '2026-11-22', 'is of a line without support'],
  ['v18.20.0', '2026-11-22', 'is of a line without support'],
  ['v27-nightly', '2026-11-22', 'is of no release that is known'],
])('Node.js %s on %s is warned of: %s', (version, day, text) => {
  expect(warningOf(version, day)).toContain(text);
  expect(warningOf(version, day)).toContain('22.23.0, 24.17.0, 26.3.1 or later');
});

test.each([
  ['v20.20.2', '2026-04-30T20:00:00Z'],
  ['v22.23.0', '2026-11-22'],
  ['22.24.1', '2026-11-22'],
  ['v24.17.0', '2026-11-22'],
  ['v26.3.1', '2026-11-22'],
  ['v26.4.0-pre', '2026-11-22'],
  ['v28.0.0', '2029-01-01'],
])('Node.js %s on %s gives no warning', (version, day) => {
  expect(warningOf(version, day)).toBe('');
});

test.each([
  ['v18.20.8', true],
  ['v20.18.3', true],
  ['20.19.0', false],
  ['v22.0.0', false],
  ['nightly', false],
])('Node.js %s is too old: %s', (version, expected) => expect(isTooOld(version)).toBe(expected));

test('the warning is published once as a notice', () => {
  const notices: NoticeEvent[] = [];
  const stop = noticeEvents.subscribe((notice) => notices.push(notice));
  reportRuntime('v20.20.2', new Date('2026-11-22'));
  reportRuntime('v24.17.0', new Date('2026-11-22'));
  stop();
  expect(notices).toMatchObject([{ kind: 'runtime-unsupported', level: 'warn', details: { version: 'v20.20.2' } }]);
});
