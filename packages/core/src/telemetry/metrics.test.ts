import { afterEach, describe, expect, it } from 'vitest';
import type { ErrorCode } from '../errors.js';
import { parseSpiffeId } from '../identity/spiffe-id.js';
import type { X509Svid } from '../identity/svid.js';
import { deniedEvents, noticeEvents, renewalFailures, stepEvents, type NoticeEvent, type Step } from './events.js';
import { createMetrics, type Metrics, type MetricsOptions } from './metrics.js';

let metrics: Metrics | undefined;
afterEach(() => metrics?.close());

const svidOf = (serial: string): X509Svid =>
  ({ id: parseSpiffeId('spiffe://cluster.local/ns/shop/sa/product'), notAfter: 1_800_000_000_500, serial }) as X509Svid;

/** Metrics of a mesh whose SVID can be changed. */
function open(change: Partial<MetricsOptions> = {}) {
  let held: X509Svid | undefined = svidOf('1');
  const watchers = new Set<(svid: X509Svid) => void>();
  const svid = {
    current() {
      if (held === undefined) throw new Error('none');
      return held;
    },
    watch(tell: (svid: X509Svid) => void) {
      watchers.add(tell);
      return () => void watchers.delete(tell);
    },
  };
  metrics = createMetrics({ svid, generation: () => 7, isReady: () => true, ...change });
  const holds = (next: X509Svid | undefined): void => {
    held = next;
    if (next !== undefined) for (const tell of watchers) tell(next);
  };
  return { holds, watchers, values: () => valuesOf(metrics!.text()) };
}

const valuesOf = (text: string): Record<string, string> =>
  Object.fromEntries(
    text
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => [line.slice(0, line.lastIndexOf(' ')), line.slice(line.lastIndexOf(' ') + 1)]),
  );
const deny = (step: Step, code: ErrorCode, path?: string): void =>
  deniedEvents.publish({ id: 'a', step, code, status: 403, reason: 'r', remedy: 'm', ...(path === undefined ? {} : { path }) });
const tell = (kind: NoticeEvent['kind']): void => noticeEvents.publish({ kind, level: 'info', message: 'm' });

describe('createMetrics', () => {
  it('reads the gauges when asked', () => {
    const { values, holds } = open();
    const expiry = 'enmesh_svid_expiry_timestamp_seconds{spiffe_id="spiffe://cluster.local/ns/shop/sa/product"}';
    expect(values()).toMatchObject({ [expiry]: '1800000000', enmesh_ready: '1', enmesh_config_generation: '7' });
    holds(undefined);
    expect(values()).not.toHaveProperty([expiry]);
  });

  it('tells how the bundle endpoints fare, each series once', () => {
    const one = { trustDomain: 'a.example', endpoint: 'https://a.example/', fetchedAt: 1_800_000_000_500, failures: 2 };
    const { values } = open({ bundleEndpoints: () => [one, one, { ...one, trustDomain: 'b.example', fetchedAt: undefined }] });
    const labels = (name: string) => `{trust_domain="${name}",endpoint="https://a.example/"}`;
    expect(Object.entries(values()).filter(([name]) => name.includes('bundle'))).toEqual([
      [`enmesh_bundle_fetched_timestamp_seconds${labels('a.example')}`, '1800000000'],
      [`enmesh_bundle_failures_total${labels('a.example')}`, '2'],
      [`enmesh_bundle_failures_total${labels('b.example')}`, '2'],
    ]);
  });

  it('tells requests, connections and calls apart', () => {
    const { values } = open();
    const handled = { step: 'handler', outcome: 'passed', subject: {} } as const;
    stepEvents.handler.publish(handled);
    stepEvents.handler.publish(handled);
    deny('authorize', 'ENMESH_POLICY_DENIED', '/');
    deny('accept', 'ENMESH_INBOUND_PEER_EXPIRED', '/');
    deny('accept', 'ENMESH_TLS_PLAINTEXT_REFUSED');
    deny('peer-identity', 'ENMESH_TLS_TRUST_DOMAIN_REFUSED');
    deny('connect', 'ENMESH_TLS_SECURE_NAMING');
    deny('outbound', 'ENMESH_TLS_SECURE_NAMING');
    expect(values()).toMatchObject({
      'enmesh_requests_total{verdict="allowed"}': '2',
      'enmesh_requests_total{verdict="denied",code="ENMESH_POLICY_DENIED"}': '1',
      'enmesh_requests_total{verdict="denied",code="ENMESH_INBOUND_PEER_EXPIRED"}': '1',
      'enmesh_connections_refused_total{code="ENMESH_TLS_PLAINTEXT_REFUSED"}': '1',
      'enmesh_connections_refused_total{code="ENMESH_TLS_TRUST_DOMAIN_REFUSED"}': '1',
      'enmesh_calls_refused_total{code="ENMESH_TLS_SECURE_NAMING"}': '2',
    });
  });

  it('counts rotations of this mesh, and failures and reloads as they are told', () => {
    const { values, holds } = open();
    holds(svidOf('1'));
    holds(svidOf('2'));
    // Not by its notice, which tells of many at once.
    tell('identity-renewal-failed');
    for (let at = 0; at < 3; at++) renewalFailures.publish({ code: 'ENMESH_ISSUANCE_FAILED' });
    for (const kind of ['config-loaded', 'config-rejected', 'config-rejected', 'key-set-failed'] as const) tell(kind);
    expect(values()).toMatchObject({
      enmesh_svid_rotations_total: '1',
      enmesh_svid_renewal_failures_total: '3',
      'enmesh_config_reloads_total{outcome="loaded"}': '1',
      'enmesh_config_reloads_total{outcome="rejected"}': '2',
      enmesh_key_set_failures_total: '1',
    });
  });

  it('writes every metric with its help and type, and escapes labels', () => {
    const id = { uri: 'spiffe://a/b"\\\n' } as X509Svid['id'];
    const { holds } = open();
    holds({ ...svidOf('1'), id });
    const text = metrics!.text();
    expect(text).toContain('spiffe_id="spiffe://a/b\\"\\\\\\n"} 1800000000\n');
    expect(text).toContain('# TYPE enmesh_requests_total counter\n');
    for (const line of text.split('\n').slice(0, -1))
      expect(line).toMatch(/^(# (HELP|TYPE) enmesh_\w+ .+|enmesh_\w+(\{.+\})? \d+)$/);
  });

  it('listens to nothing before and after', () => {
    const { watchers } = open();
    expect(stepEvents.handler.hasSubscribers).toBe(true);
    metrics!.close();
    const channels = [stepEvents.handler, deniedEvents, noticeEvents, renewalFailures];
    expect(channels.map(({ hasSubscribers }) => hasSubscribers)).toEqual([false, false, false, false]);
    expect(watchers.size).toBe(0);
  });
});
