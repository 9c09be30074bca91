import { expect, test } from 'vitest';
import { compileSnapshot } from './snapshot.js';
import { validateDocuments } from './validate.js';

const text = `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: mine, namespace: shop}
spec: {selector: {matchLabels: {app: product}}, rules: [{}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: of-another-workload, namespace: shop}
spec: {selector: {matchLabels: {app: stock}}, action: DENY, rules: [{}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: of-the-mesh, namespace: mesh-root}
spec: {action: DENY, rules: [{to: [{operation: {paths: [/never]}}]}]}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}, selector: {matchLabels: {app: product}}, portLevelMtls: {"9090": {mode: DISABLE}}}
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: users, namespace: shop}
spec: {jwtRules: [{issuer: "https://idp.example", jwksUri: "https://idp.example/keys", outputPayloadToHeader: X-User}]}
`;

test('a snapshot holds what applies to its workload, compiled, and cannot be changed', () => {
  const { resources } = validateDocuments([
    { name: 'a.yaml', text },
    { name: 'enmesh/mesh.yaml', text: 'rootNamespace: mesh-root', meshConfig: true },
  ]);
  const snapshot = compileSnapshot(resources!, { namespace: 'shop', serviceAccount: 'product', labels: { app: 'product' } }, 7);
  expect(snapshot.generation).toBe(7);
  expect(snapshot.mesh.rootNamespace).toBe('mesh-root');
  expect([snapshot.policies.allow?.length, snapshot.policies.deny?.length]).toEqual([1, 1]);
  expect([snapshot.tlsModes.modeFor(8080), snapshot.tlsModes.modeFor(9090)]).toEqual(['STRICT', 'DISABLE']);
  expect(snapshot.jwt.outputHeaders).toEqual(['x-user']);
  expect(snapshot.resources).toBe(resources);
  expect(Object.isFrozen(snapshot)).toBe(true);
});
