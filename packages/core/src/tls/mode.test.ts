import { describe, expect, it } from 'vitest';
import { compileTlsModes, namespaceTlsMode } from './mode.js';
import type { PeerAuthentication, PeerAuthenticationSpec } from './resource.js';

const root = 'istio-system';
const stock = { namespace: 'shop', labels: { app: 'stock', version: 'v1' } };

function policy(namespace: string, name: string, spec: PeerAuthenticationSpec, creationTimestamp = 0): PeerAuthentication {
  return {
    meta: {
      kind: 'PeerAuthentication',
      namespace,
      name,
      creationTimestamp,
      labels: {},
      annotations: {},
      source: { file: 'a.yaml', line: 1, column: 1 },
    },
    spec,
  };
}

const mesh = policy(root, 'default', { mtls: { mode: 'STRICT' } });
const shop = policy('shop', 'default', { mtls: { mode: 'DISABLE' } });
const app = policy('shop', 'stock', { selector: { matchLabels: { app: 'stock' } }, mtls: { mode: 'PERMISSIVE' } });

describe('compileTlsModes', () => {
  const cases: readonly [title: string, policies: readonly PeerAuthentication[], mode: string, source: string | undefined][] = [
    ['is PERMISSIVE by nobody when there is no policy', [], 'PERMISSIVE', undefined],
    ['takes the mesh policy when there is nothing narrower', [mesh], 'STRICT', 'istio-system/default'],
    ['lets the namespace override the mesh', [mesh, shop], 'DISABLE', 'shop/default'],
    ['lets the workload override the namespace, whatever the order of documents', [app, shop, mesh], 'PERMISSIVE', 'shop/stock'],
    ['treats UNSET as absent', [mesh, policy('shop', 'default', { mtls: { mode: 'UNSET' } })], 'STRICT', 'istio-system/default'],
    ['treats a policy without mtls as UNSET', [mesh, policy('shop', 'default', {})], 'STRICT', 'istio-system/default'],
    ['ignores other namespaces', [policy('ops', 'default', { mtls: { mode: 'STRICT' } })], 'PERMISSIVE', undefined],
    ['ignores a policy of the root namespace that has a selector', [policy(root, 'x', app.spec)], 'PERMISSIVE', undefined],
    [
      'ignores a selector that asks for a label the workload lacks',
      [policy('shop', 'x', { selector: { matchLabels: { app: 'stock', tier: 'a' } }, mtls: { mode: 'STRICT' } })],
      'PERMISSIVE',
      undefined,
    ],
    [
      'takes empty matchLabels for a namespace policy',
      [policy('shop', 'x', { selector: { matchLabels: {} }, mtls: { mode: 'STRICT' } })],
      'STRICT',
      'shop/x',
    ],
    [
      'prefers the oldest of two',
      [policy('shop', 'a', { mtls: { mode: 'STRICT' } }, 2000), policy('shop', 'b', { mtls: { mode: 'DISABLE' } }, 1000)],
      'DISABLE',
      'shop/b',
    ],
    [
      'prefers the first name of two of the same second',
      [policy('shop', 'b', { mtls: { mode: 'STRICT' } }), policy('shop', 'a', { mtls: { mode: 'DISABLE' } })],
      'DISABLE',
      'shop/a',
    ],
    [
      'lets the oldest win even where it is UNSET',
      [mesh, policy('shop', 'a', {}, 1), policy('shop', 'b', { mtls: { mode: 'DISABLE' } }, 2)],
      'STRICT',
      'istio-system/default',
    ],
  ];
  it.each(cases)('%s', (_title, policies, mode, source) => {
    const modes = compileTlsModes(policies, stock, root);
    expect([modes.modeFor(8080), modes.sourceFor(8080)]).toEqual([mode, source]);
  });

  it('reads port-level modes of the winning workload policy, UNSET and null falling back to the workload', () => {
    const ports = policy('shop', 'stock', {
      selector: { matchLabels: { app: 'stock' } },
      mtls: { mode: 'STRICT' },
      portLevelMtls: { '8080': { mode: 'DISABLE' }, '8081': { mode: 'UNSET' }, '8082': {}, '8083': null },
    });
    const modes = compileTlsModes([shop, ports], stock, root);
    expect([8080, 8081, 8082, 8083, 9999].map((port) => modes.modeFor(port))).toEqual([
      'DISABLE',
      'STRICT',
      'STRICT',
      'STRICT',
      'STRICT',
    ]);
  });

  it('never applies port-level modes of a namespace policy or of a workload policy that lost', () => {
    const wide = policy('shop', 'default', { mtls: { mode: 'STRICT' }, portLevelMtls: { '8080': { mode: 'DISABLE' } } });
    const lost = policy('shop', 'z', {
      selector: { matchLabels: { version: 'v1' } },
      portLevelMtls: { '8080': { mode: 'DISABLE' } },
    });
    const won = policy('shop', 'y', { selector: { matchLabels: { app: 'stock' } } });
    expect(compileTlsModes([wide, lost, won], stock, root).modeFor(8080)).toBe('STRICT');
  });

  it('knows no namespace or workload class for workloads of the root namespace', () => {
    const own = policy(root, 'own', { selector: { matchLabels: { app: 'stock' } }, mtls: { mode: 'DISABLE' } });
    expect(compileTlsModes([mesh, own], { ...stock, namespace: root }, root).modeFor(80)).toBe('STRICT');
  });
});

describe('namespaceTlsMode', () => {
  it('ignores workload policies', () => expect(namespaceTlsMode([mesh, app], 'shop', root)).toBe('STRICT'));
  it('lets the namespace override the mesh', () => expect(namespaceTlsMode([mesh, shop], 'shop', root)).toBe('DISABLE'));
  it('is PERMISSIVE by default', () => expect(namespaceTlsMode([], 'shop', root)).toBe('PERMISSIVE'));
});
