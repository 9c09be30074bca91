import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { deniedEvents, noticeEvents, type DeniedEvent } from './events.js';
import { createStandardErrorWriter } from './standard-error.js';
import { createVoice } from './voice.js';
import { untilHolds } from '../../../../test/support/waiting.js';

const denied = (id: string): DeniedEvent => ({
  id,
  step: 'authorize',
  code: 'ENMESH_POLICY_DENIED',
  status: 403,
  reason: 'no rule matched',
  remedy: 'write a rule',
});

let lines: string[];
let stop: (() => void) | undefined;
beforeEach(() => {
  vi.useFakeTimers({ now: Date.parse('2026-11-22') });
  lines = [];
});
afterEach(() => {
  stop?.();
  stop = undefined;
  vi.useRealTimers();
});
const speak = (o: { linesPerSecond?: number; burst?: number } = {}): void =>
  void (stop = createVoice({ write: (line) => lines.push(line), ...o }));

describe('a voice', () => {
  test('says denials and notices until it is ended', () => {
    speak();
    deniedEvents.publish(denied('one'));
    noticeEvents.publish({ kind: 'config-loaded', level: 'info', message: 'in force' });
    stop?.();
    deniedEvents.publish(denied('two'));
    expect(lines).toHaveLength(2);
    expect(lines[0]).toContain('denied one ENMESH_POLICY_DENIED 403');
    expect(lines[1]).toContain('config-loaded: in force');
  });

  test('holds back what is above the rate and says how much it was', () => {
    speak({ linesPerSecond: 10, burst: 5 });
    for (let at = 0; at < 100; at++) deniedEvents.publish(denied(String(at)));
    expect(lines).toHaveLength(5);
    vi.advanceTimersByTime(1000);
    expect(lines).toHaveLength(6);
    expect(lines[5]).toContain('95 more denials were not written');
    deniedEvents.publish(denied('later'));
    expect(lines).toHaveLength(7);
    vi.advanceTimersByTime(10_000);
    expect(lines).toHaveLength(7);
  });

  test('speaks at the rate in the long run', () => {
    speak({ linesPerSecond: 10, burst: 5 });
    for (let tick = 0; tick < 1000; tick++) {
      deniedEvents.publish(denied(String(tick)));
      vi.advanceTimersByTime(10);
    }
    const summaries = lines.filter((line) => line.includes('were not written'));
    expect(lines.length - summaries.length).toBeGreaterThan(95);
    expect(lines.length - summaries.length).toBeLessThan(110);
    expect(summaries.length).toBeLessThanOrEqual(10);
  });

  test('is not silenced about the mesh by a flood of denials', () => {
    speak({ burst: 2 });
    for (let at = 0; at < 100; at++) deniedEvents.publish(denied(String(at)));
    noticeEvents.publish({ kind: 'config-rejected', level: 'error', message: 'look here' });
    expect(lines.at(-1)).toContain('look here');
  });

  test('says at its end what it held back', () => {
    speak({ burst: 1 });
    for (let at = 0; at < 3; at++) deniedEvents.publish(denied(String(at)));
    stop?.();
    expect(lines.at(-1)).toContain('2 more denials');
  });

  test('that cannot write fails nobody', () => {
    stop = createVoice({
      write: () => {
        throw new Error('EPIPE');
      },
    });
    expect(() => deniedEvents.publish(denied('one'))).not.toThrow();
  });
});

describe('standard error', () => {
  test('gets every line in order', async () => {
    vi.useRealTimers();
    const directory = mkdtempSync(join(tmpdir(), 'enmesh-voice-'));
    const path = join(directory, 'log');
    const fd = openSync(path, 'w');
    const write = createStandardErrorWriter(fd);
    const expected = Array.from({ length: 200 }, (_, at) => `line ${at}`);
    for (const line of expected) write(line);
    await untilHolds(() => expect(readFileSync(path, 'utf8').trimEnd().split('\n')).toEqual(expected));
    closeSync(fd);
    rmSync(directory, { recursive: true });
  });

  test('that nobody reads holds nothing up and keeps a bounded number of lines', async () => {
    vi.useRealTimers();
    const directory = mkdtempSync(join(tmpdir(), 'enmesh-voice-'));
    const path = join(directory, 'log');
    const fd = openSync(path, 'w');
    const write = createStandardErrorWriter(fd);
    // Nothing can be written before this loop ends: it stands for a reader that has stopped.
    for (let at = 0; at < 10_000; at++) write(`line ${at}`);
    await untilHolds(() => expect(readFileSync(path, 'utf8')).toMatch(/enmesh 9743 lines were lost/));
    closeSync(fd);
    rmSync(directory, { recursive: true });
  });

  test('that is closed is no error', async () => {
    vi.useRealTimers();
    const directory = mkdtempSync(join(tmpdir(), 'enmesh-voice-'));
    const fd = openSync(join(directory, 'log'), 'w');
    closeSync(fd);
    const write = createStandardErrorWriter(fd);
    write('into the void');
    await new Promise((settled) => setTimeout(settled, 20));
    expect(() => write('again')).not.toThrow();
    rmSync(directory, { recursive: true });
  });
});
