import { describe, expect, it } from 'vitest';
import { compileSnapshot } from '../config/snapshot.js';
import { validateDocuments } from '../config/validate.js';
import { createEvaluator, type GivenConnection } from './evaluate.js';

const mesh = 'extensionProviders: [{name: authz, envoyExtAuthzHttp: {service: authz, port: 80, statusOnError: "503"}}]';
const policies = `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ask, namespace: shop}
spec: {action: CUSTOM, provider: {name: authz}, rules: [{to: [{operation: {paths: ["/asked"]}}]}]}
`;

const { resources } = validateDocuments([
  { name: 'enmesh/mesh.yaml', text: mesh, meshConfig: true },
  { name: 'p.yaml', text: policies },
]);
const workload = { namespace: 'shop', serviceAccount: 'product', labels: {} };
const evaluator = createEvaluator({ snapshot: compileSnapshot(resources!, workload, 1) });
const connection: GivenConnection = { tls: false, sourceIp: '10.0.0.1', destinationIp: '10.0.0.2', destinationPort: 8080 };
const get = (target: string) => evaluator.evaluate(connection, { method: 'GET', target, headers: [['Host', 'a']] });

describe('the custom step', () => {
  it('makes no promise of a request that no CUSTOM rule matches', () => {
    const evaluation = get('/free');
    expect(evaluation).not.toBeInstanceOf(Promise);
    expect(evaluation).toMatchObject({ verdict: { outcome: 'allowed' } });
  });

  it('denies what one matches where no authorizer can be asked, naming policy and rule', async () => {
    const evaluation = get('/asked');
    expect(evaluation).toBeInstanceOf(Promise);
    expect(await evaluation).toMatchObject({
      verdict: { outcome: 'denied', status: 503, policy: 'shop/ask', rule: 0 },
      refusal: {
        step: 'custom',
        code: 'ENMESH_CUSTOM_CHECK_FAILED',
        reason: expect.stringContaining('can be asked here') as string,
      },
    });
  });
});
