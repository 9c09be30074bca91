import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createMesh, type Mesh } from '@enmesh/core';
import { createTestAuthority, createTestIssuer } from '@enmesh/core/testing';
import { runEnmesh } from '../support/command-line.js';

let mesh: Mesh | undefined;
let jwks = '';
beforeAll(async () => {
  jwks = (await createTestIssuer()).jwksText;
});
afterEach(() => mesh?.close());

/** A mesh of shop/cart (labels app=cart) under what `enmesh convert` makes of legacy documents. */
async function convertedMesh(legacy: string): Promise<Mesh> {
  const { code, out } = await runEnmesh(['convert', '-'], { input: legacy });
  expect(code).toBe(0);
  const authority = await createTestAuthority();
  const identity = await authority.identity({ namespace: 'shop', serviceAccount: 'cart' });
  const config = { read: () => Promise.resolve([{ name: 'converted.yaml', text: out }]), watch: () => () => {} };
  const workload = { namespace: 'shop', serviceAccount: 'cart', labels: { app: 'cart', version: 'v1' } };
  mesh = await createMesh({ ...workload, config, identity, log: false, env: {} });
  return mesh;
}

interface Caller {
  readonly method?: string;
  readonly path?: string;
  /** `namespace/serviceAccount` of the peer. */
  readonly peer?: string;
  /** Claims of the user's token; none without. */
  readonly user?: Readonly<Record<string, unknown>>;
  readonly headers?: Readonly<Record<string, string>>;
}

function isAllowed(mesh: Mesh, { method = 'GET', path = '/', peer = 'web/ui', user, headers = {} }: Caller): boolean {
  const [namespace, serviceAccount] = peer.split('/') as [string, string];
  const principal = `cluster.local/ns/${namespace}/sa/${serviceAccount}`;
  const uri = `spiffe://${principal}`;
  const spiffeId = { uri, trustDomain: 'cluster.local', path: principal.slice('cluster.local'.length) };
  const certificate = { certificateSha256: '', subject: '', dnsNames: [], notAfter: Infinity };
  const identity = { spiffeId, uri, principal, trustDomain: 'cluster.local', namespace, serviceAccount, ...certificate };
  const token = {
    audiences: [],
    presenter: undefined,
    payload: '',
    issuer: 'i',
    subject: 's',
    principal: 'i/s',
    expiresAt: Infinity,
  };
  const addresses = { sourceIp: '10.0.0.1', remoteIp: '10.0.0.1', destinationIp: '10.0.0.2', destinationPort: 8080 };
  return mesh.evaluate({
    ...{ method, path, pathSpellings: [], pathIgnoresCase: false, host: 'cart', sni: '', peer: identity, ...addresses },
    user: user === undefined ? undefined : { ...token, claims: user },
    header: (name) => (headers[name] === undefined ? undefined : [headers[name]]),
  }).allowed;
}

const paths = ['/', '/a', '/a/', '/a/b', '/ab', '/b', '/b/c', '/c.png', '/a/c.png', '/health', '/healthz', '/x/health'];

describe('converted trigger rules demand a token exactly where the legacy ones did', () => {
  interface Match {
    readonly exact?: string;
    readonly prefix?: string;
    readonly suffix?: string;
  }
  interface Rule {
    readonly includedPaths?: readonly Match[];
    readonly excludedPaths?: readonly Match[];
  }

  /** The legacy meaning in its own words: a rule holds when no excluded path matches and, if any is included, one of these does. */
  const isNeeded = (rules: readonly Rule[], path: string): boolean => {
    const matches = ({ exact, prefix, suffix }: Match): boolean =>
      path === exact || (prefix !== undefined && path.startsWith(prefix)) || (suffix !== undefined && path.endsWith(suffix));
    const holds = ({ includedPaths = [], excludedPaths = [] }: Rule): boolean =>
      !excludedPaths.some(matches) && (includedPaths.length === 0 || includedPaths.some(matches));
    return rules.length === 0 || rules.some(holds);
  };

  const legacy: readonly (readonly Rule[])[] = [
    [],
    [{ includedPaths: [{ exact: '/a' }] }],
    [{ includedPaths: [{ prefix: '/a' }, { suffix: '.png' }] }],
    [{ excludedPaths: [{ exact: '/health' }, { prefix: '/b' }] }],
    [{ includedPaths: [{ prefix: '/a' }], excludedPaths: [{ suffix: '.png' }, { exact: '/a/b' }] }],
    [{ includedPaths: [{ exact: '/b' }] }, { includedPaths: [{ prefix: '/a' }], excludedPaths: [{ exact: '/a' }] }],
    [{ excludedPaths: [{ exact: '/a' }] }, { excludedPaths: [{ exact: '/b' }] }],
    [{ includedPaths: [{ prefix: '' }] }],
  ];

  it.each(legacy.map((triggerRules) => [JSON.stringify(triggerRules), triggerRules] as const))('%s', async (_, triggerRules) => {
    const spec = { targets: [{ name: 'cart' }], peers: [{ mtls: {} }], origins: [{ jwt: { issuer: 'i', jwks, triggerRules } }] };
    const metadata = { name: 'cart', namespace: 'shop' };
    const policy = { apiVersion: 'authentication.istio.io/v1alpha1', kind: 'Policy', metadata, spec };
    const own = await convertedMesh(JSON.stringify(policy));
    expect(paths.filter((path) => !isAllowed(own, { path }))).toEqual(paths.filter((path) => isNeeded(triggerRules, path)));
    expect(paths.filter((path) => !isAllowed(own, { path, user: {} }))).toEqual([]);
  });
});

describe('converted roles open exactly what the legacy ones did', () => {
  const legacy = `
apiVersion: rbac.istio.io/v1alpha1
kind: ClusterRbacConfig
metadata: {name: default}
spec: {mode: "ON"}
---
apiVersion: rbac.istio.io/v1alpha1
kind: ServiceRole
metadata: {name: r, namespace: shop}
spec:
  rules:
  - {services: [cart], methods: [GET], paths: ["/a*"]}
  - {services: [other.shop.svc.cluster.local], methods: ["*"]}
  - {services: ["*"], methods: [PUT], constraints: [{key: "destination.labels[version]", values: [v1]}, {key: "request.headers[x-t]", values: [yes-1, yes-2]}]}
  - {services: ["*"], methods: [PATCH], constraints: [{key: "destination.labels[version]", values: [v2]}]}
---
apiVersion: rbac.istio.io/v1alpha1
kind: ServiceRoleBinding
metadata: {name: b, namespace: shop}
spec:
  subjects:
  - user: cluster.local/ns/web/sa/ui
  - properties: {source.namespace: jobs, "request.auth.claims[role]": admin}
  roleRef: {kind: ServiceRole, name: r}
`;

  const callers: readonly (readonly [Caller, boolean])[] = [
    [{ path: '/a' }, true],
    [{ path: '/abc' }, true],
    [{ path: '/b' }, false],
    [{ path: '/a', method: 'POST' }, false],
    [{ path: '/a', peer: 'web/other' }, false],
    [{ path: '/a', peer: 'jobs/x' }, false],
    [{ path: '/a', peer: 'jobs/x', user: { role: 'admin' } }, true],
    [{ path: '/a', peer: 'jobs/x', user: { role: 'guest' } }, false],
    [{ path: '/a', peer: 'web/other', user: { role: 'admin' } }, false],
    [{ path: '/b', method: 'PUT' }, false],
    [{ path: '/b', method: 'PUT', headers: { 'x-t': 'yes-2' } }, true],
    [{ path: '/b', method: 'PUT', headers: { 'x-t': 'no' } }, false],
    [{ path: '/a', method: 'PATCH' }, false],
  ];

  it('for every caller', async () => {
    const own = await convertedMesh(legacy);
    expect(callers.map(([caller]) => [caller, isAllowed(own, caller)])).toEqual(callers);
  });
});
