import type { KeySetState, KeySetStatus } from '../jwt/key-sets.js';
import { formatMetric, type Sample } from './metric-text.js';

const states: readonly KeySetState[] = ['waiting', 'fresh', 'stale', 'unavailable'];

/** A configuration with more sets than this is told of in part; `enmesh_key_sets` has the whole number. */
const mostSets = 200;
const maxLabel = 200;

/**
 * How the fetched key sets stand, in Prometheus' text format. One series for each issuer and place (and state); of two rules that fetch the same set differently
 * the one that stands worse is told, for two series of one name would spoil the whole answer.
 */
export function keySetMetrics(all: readonly KeySetStatus[], clock: () => number): readonly string[] {
  const sets = [...worstOfEach(all).values()].slice(0, mostSets);
  const now = clock();
  const of = (value: (set: KeySetStatus) => number | undefined): readonly Sample[] =>
    sets.flatMap((set) => {
      const found = value(set);
      return found === undefined ? [] : [{ labels: labelsOf(set), value: found }];
    });
  const seconds = (ms: number | undefined): number | undefined => (ms === undefined ? undefined : Math.floor(ms / 1000));
  const state = sets.flatMap((set) =>
    states.map((name) => ({ labels: { ...labelsOf(set), state: name }, value: set.state === name ? 1 : 0 })),
  );
  const gauge = (name: string, help: string, samples: readonly Sample[]): string =>
    formatMetric({ name: `enmesh_key_set_${name}`, help, type: 'gauge', samples });
  const count = { labels: {}, value: all.length };
  return [
    formatMetric({ name: 'enmesh_key_sets', help: 'Fetched JSON Web Key Sets in use.', type: 'gauge', samples: [count] }),
    gauge('state', '1 for the state that a key set is in: waiting, fresh, stale (older keys count) or unavailable.', state),
    gauge(
      'age_seconds',
      'Time since the keys in use were fetched; absent while there are none.',
      of(({ fetchedAt }) => (fetchedAt === undefined ? undefined : Math.max(0, Math.floor((now - fetchedAt) / 1000)))),
    ),
    gauge(
      'last_success_timestamp_seconds',
      'When the keys in use were fetched, in seconds since the epoch.',
      of(({ fetchedAt }) => seconds(fetchedAt)),
    ),
    gauge(
      'expiry_timestamp_seconds',
      'When the keys in use stop counting, unless they are renewed before, in seconds since the epoch.',
      of(({ usableUntil }) => seconds(usableUntil)),
    ),
    gauge(
      'consecutive_failures',
      'Fetches that failed since the last good one.',
      of(({ failures }) => failures),
    ),
    gauge(
      'generation',
      'Grows with every other set that is taken into use.',
      of(({ generation }) => generation),
    ),
    gauge(
      'keys',
      'Keys that tokens may be verified with.',
      of(({ keys }) => keys),
    ),
  ];
}

function labelsOf({ issuer, place }: KeySetStatus): Readonly<Record<string, string>> {
  return { issuer: issuer.slice(0, maxLabel), place: place.replace(/^at /, '').slice(0, maxLabel) };
}

function worstOfEach(all: readonly KeySetStatus[]): ReadonlyMap<string, KeySetStatus> {
  const worst = new Map<string, KeySetStatus>();
  const rank = ({ state }: KeySetStatus): number => ['fresh', 'waiting', 'stale', 'unavailable'].indexOf(state);
  for (const set of all) {
    const name = JSON.stringify(labelsOf(set));
    const known = worst.get(name);
    if (known === undefined || rank(set) > rank(known)) worst.set(name, set);
  }
  return worst;
}
