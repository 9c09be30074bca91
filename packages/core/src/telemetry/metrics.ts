import type { SvidSource } from '../identity/source.js';
import type { X509Svid } from '../identity/svid.js';
import { deniedEvents, noticeEvents, renewalFailures, stepEvents, type DeniedEvent, type NoticeEvent } from './events.js';
import type { KeySetStatus } from '../jwt/key-sets.js';
import { keySetMetrics } from './key-set-metrics.js';
import { createCounter, formatMetric, type Sample } from './metric-text.js';

/** What the gauges of one mesh are read from, at the moment of asking. */
export interface MetricsOptions {
  readonly svid: SvidSource;
  /** The generation of the configuration in force. */
  readonly generation: () => number;
  readonly isReady: () => boolean;
  /** The SPIFFE bundle endpoints in use; default none. */
  readonly bundleEndpoints?: () => readonly BundleEndpointFigures[];
  /** How the fetched key sets stand; default none. */
  readonly keySets?: () => readonly KeySetStatus[];
  /** Milliseconds since the epoch, by which ages are told; default the system's. */
  readonly clock?: () => number;
}

/** What is told of one bundle endpoint: when it last gave a good bundle, in milliseconds since the epoch, and how often it failed. */
export interface BundleEndpointFigures {
  readonly trustDomain: string;
  readonly endpoint: string;
  readonly fetchedAt: number | undefined;
  readonly failures: number;
}

/** Counts and gauges of a mesh. */
export interface Metrics {
  /** All of them in Prometheus' text format 0.0.4. */
  text(): string;
  close(): void;
}

/** The content type of {@link Metrics.text}. */
export const metricsContentType = 'text/plain; version=0.0.4; charset=utf-8';

/**
 * Begins to count what the diagnostics channels tell: until then nobody listens and nothing is spent. Events are of the whole process, so with two meshes in it
 * the counters are of both; gauges and rotations are of this one. Labels have few values: codes of the error table, verdicts, the SPIFFE ID held.
 */
export function createMetrics(options: MetricsOptions): Metrics {
  const counters = {
    requests: createCounter(),
    connections: createCounter(),
    calls: createCounter(),
    rotations: createCounter(),
    renewalFailures: createCounter(),
    reloads: createCounter(),
    keySetFailures: createCounter(),
  };
  // A series that appears only with its first event has no rate before the second.
  for (const one of [counters.rotations, counters.renewalFailures, counters.keySetFailures]) one.add({}, 0);
  for (const verdict of ['allowed', 'denied']) counters.requests.add({ verdict }, 0);
  for (const outcome of ['loaded', 'rejected']) counters.reloads.add({ outcome }, 0);
  const stops = [
    stepEvents.handler.subscribe(() => counters.requests.add({ verdict: 'allowed' })),
    deniedEvents.subscribe((event) => countDenied(event, counters)),
    noticeEvents.subscribe((event) => countNotice(event, counters)),
    renewalFailures.subscribe(() => counters.renewalFailures.add({})),
    watchRotations(options.svid, () => counters.rotations.add({})),
  ];
  return {
    text() {
      const keySets = keySetMetrics(options.keySets?.() ?? [], options.clock ?? Date.now);
      const endpoints = bundleMetrics(options.bundleEndpoints?.() ?? []);
      return [...gauges(options), ...keySets, ...totals(counters), ...endpoints].join('');
    },
    close() {
      for (const stop of stops.splice(0)) stop();
    },
  };
}

type Counters = Readonly<
  Record<
    'requests' | 'connections' | 'calls' | 'rotations' | 'renewalFailures' | 'reloads' | 'keySetFailures',
    ReturnType<typeof createCounter>
  >
>;

function countDenied({ step, code, path }: DeniedEvent, counters: Counters): void {
  if (step === 'outbound' || step === 'connect') return counters.calls.add({ code });
  // A connection that never carried a request has no path.
  if ((step === 'accept' || step === 'peer-identity') && path === undefined) return counters.connections.add({ code });
  counters.requests.add({ verdict: 'denied', code });
}

function countNotice({ kind }: NoticeEvent, counters: Counters): void {
  if (kind === 'key-set-failed') counters.keySetFailures.add({});
  else if (kind === 'config-loaded') counters.reloads.add({ outcome: 'loaded' });
  else if (kind === 'config-rejected') counters.reloads.add({ outcome: 'rejected' });
}

/** The first SVID is no rotation. */
function watchRotations(svid: SvidSource, onRotation: () => void): () => void {
  let serial = currentOf(svid)?.serial;
  return svid.watch((next) => {
    if (serial !== undefined && serial !== next.serial) onRotation();
    serial = next.serial;
  });
}

function gauges({ svid, generation, isReady }: MetricsOptions): readonly string[] {
  const held = currentOf(svid);
  const expiry: readonly Sample[] =
    held === undefined ? [] : [{ labels: { spiffe_id: held.id.uri }, value: Math.floor(held.notAfter / 1000) }];
  const gauge = (name: string, help: string, samples: readonly Sample[]): string =>
    formatMetric({ name, help, type: 'gauge', samples });
  return [
    gauge(
      'enmesh_svid_expiry_timestamp_seconds',
      'End of the SVID held, in seconds since the epoch; absent while there is none.',
      expiry,
    ),
    gauge('enmesh_ready', '1 while this workload is ready: identity held and not about to end, configuration good.', [
      { labels: {}, value: isReady() ? 1 : 0 },
    ]),
    gauge('enmesh_config_generation', 'Generation of the configuration in force.', [{ labels: {}, value: generation() }]),
  ];
}

function totals(counters: Counters): readonly string[] {
  const names: Readonly<Record<keyof Counters, readonly [name: string, help: string]>> = {
    requests: ['enmesh_requests_total', 'Requests decided, by verdict; those denied also by error code.'],
    connections: ['enmesh_connections_refused_total', 'Connections that were not taken, by error code.'],
    calls: ['enmesh_calls_refused_total', 'Calls and connections to other services that were refused here, by error code.'],
    rotations: ['enmesh_svid_rotations_total', 'How often another SVID took the place of the one held.'],
    renewalFailures: ['enmesh_svid_renewal_failures_total', 'How often a new SVID was not got, or was not usable.'],
    reloads: [
      'enmesh_config_reloads_total',
      'Configurations read, by outcome; a rejected one leaves the last good one in force.',
    ],
    keySetFailures: ['enmesh_key_set_failures_total', 'How often a JSON Web Key Set could not be fetched.'],
  };
  return (Object.keys(names) as (keyof Counters)[]).map((key) => {
    const [name, help] = names[key];
    return formatMetric({ name, help, type: 'counter', samples: counters[key].samples() });
  });
}

/** A service without bundle endpoints has none of these. */
function bundleMetrics(endpoints: readonly BundleEndpointFigures[]): readonly string[] {
  if (endpoints.length === 0) return [];
  const series = (valueOf: (one: BundleEndpointFigures) => number | undefined): readonly Sample[] => {
    const samples = new Map<string, Sample>();
    for (const one of endpoints) {
      const value = valueOf(one);
      const labels = { trust_domain: one.trustDomain, endpoint: one.endpoint };
      if (value !== undefined) samples.set(JSON.stringify(labels), { labels, value });
    }
    return [...samples.values()];
  };
  return [
    formatMetric({
      name: 'enmesh_bundle_fetched_timestamp_seconds',
      help: 'When a bundle endpoint last gave a good bundle, in seconds since the epoch; absent before the first.',
      type: 'gauge',
      samples: series(({ fetchedAt }) => (fetchedAt === undefined ? undefined : Math.floor(fetchedAt / 1000))),
    }),
    formatMetric({
      name: 'enmesh_bundle_failures_total',
      help: 'How often a bundle endpoint gave no good bundle.',
      type: 'counter',
      samples: series(({ failures }) => failures),
    }),
  ];
}

function currentOf(svid: SvidSource): X509Svid | undefined {
  try {
    return svid.current();
  } catch {
    // None now: the gauge is absent, which is what alerts ask for.
    return undefined;
  }
}
