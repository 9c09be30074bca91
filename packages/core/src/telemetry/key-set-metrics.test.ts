import { describe, expect, it } from 'vitest';
import type { KeySetStatus } from '../jwt/key-sets.js';
import { keySetMetrics } from './key-set-metrics.js';

const good: KeySetStatus = {
  issuer: 'https://idp.example',
  place: 'at https://idp.example/keys',
  state: 'fresh',
  keys: 2,
  generation: 3,
  fetchedAt: 1_000_000,
  usableUntil: 87_400_000,
  failures: 0,
  restored: false,
};
const linesOf = (sets: readonly KeySetStatus[], now = 1_060_500): readonly string[] =>
  keySetMetrics(sets, () => now)
    .join('')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'));
const labels = 'issuer="https://idp.example",place="https://idp.example/keys"';

describe('keySetMetrics', () => {
  it('tells state, age, ends, failures, generation and keys of a set', () => {
    expect(linesOf([good])).toEqual([
      'enmesh_key_sets 1',
      `enmesh_key_set_state{${labels},state="waiting"} 0`,
      `enmesh_key_set_state{${labels},state="fresh"} 1`,
      `enmesh_key_set_state{${labels},state="stale"} 0`,
      `enmesh_key_set_state{${labels},state="unavailable"} 0`,
      `enmesh_key_set_age_seconds{${labels}} 60`,
      `enmesh_key_set_last_success_timestamp_seconds{${labels}} 1000`,
      `enmesh_key_set_expiry_timestamp_seconds{${labels}} 87400`,
      `enmesh_key_set_consecutive_failures{${labels}} 0`,
      `enmesh_key_set_generation{${labels}} 3`,
      `enmesh_key_set_keys{${labels}} 2`,
    ]);
  });

  it('has no age of a set that was never fetched', () => {
    const lines = linesOf([{ ...good, state: 'unavailable', fetchedAt: undefined, usableUntil: undefined, failures: 4 }]);
    expect(lines.join()).not.toMatch(/age_seconds|timestamp/);
    expect(lines).toContain(`enmesh_key_set_consecutive_failures{${labels}} 4`);
  });

  it('tells the worse of two sets that are one by their labels, and no series twice', () => {
    const lines = linesOf([good, { ...good, state: 'unavailable', failures: 9 }, good]);
    expect(lines).toContain(`enmesh_key_set_state{${labels},state="unavailable"} 1`);
    expect(lines).toContain('enmesh_key_sets 3');
    const names = lines.map((line) => line.slice(0, line.lastIndexOf(' ')));
    expect(new Set(names).size).toBe(names.length);
  });

  it('bounds labels and the number of series, and escapes what an issuer may hold', () => {
    const many = Array.from({ length: 1000 }, (_, at) => ({ ...good, issuer: `${at}"\n${'x'.repeat(500)}` }));
    const lines = linesOf(many);
    expect(lines.length).toBe(1 + 200 * 10);
    for (const line of lines) expect(line.length).toBeLessThan(400);
    expect(lines[1]).toContain('issuer="0\\"\\nxxx');
  });
});
