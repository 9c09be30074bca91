import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { deniedEvents, type DeniedEvent } from '@enmesh/core';
import { createHouse, open, send, type Answer, type House } from '../support/house.js';

const policies = `
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: users, namespace: shop}
spec: {jwtRules: [{issuer: ISSUER, jwks: 'JWKS'}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: product-callers, namespace: shop}
spec:
  rules:
  - from: [{source: {principals: [cluster.local/ns/shop/sa/gateway]}}]
    to: [{operation: {methods: [GET], paths: ["/products*"]}}]
    when: [{key: "request.auth.claims[role]", values: [buyer]}, {key: "request.headers[x-api-key]", values: [letmein-7]}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-admin, namespace: shop}
spec: {action: DENY, rules: [{to: [{operation: {paths: ["/admin*"]}}]}]}
`;

let house: House;
let port: number;
const heard: DeniedEvent[] = [];
let stop: () => void;

beforeAll(async () => {
  house = await createHouse(policies);
  port = await open(house.mesh.createServer((_request, response) => response.end('handled')));
  // Spread while the event is told, as a listener does that writes it down: `near` is found then.
  stop = deniedEvents.subscribe((event) => heard.push({ ...event }));
});
afterAll(async () => {
  stop();
  await house.close();
});

async function call(caller: string, path: string, more: { readonly role: string; readonly key?: string }): Promise<Answer> {
  heard.length = 0;
  const token = await house.issuer.sign({ sub: 'jane-s3cret', role: more.role });
  const headers: [string, string][] = [['Authorization', `Bearer ${token}`]];
  if (more.key !== undefined) headers.push(['X-Api-Key', more.key]);
  return send({ port, as: await house.svid(caller), roots: [house.authority.rootPem] }, 'GET', path, headers);
}

describe('a refused request', () => {
  it('is told with the rule that came closest and every field that failed', async () => {
    const answer = await call('visitor', '/products/1', { role: 'buyer', key: 'letmein-7' });
    expect(answer).toMatchObject({ status: 403, body: 'RBAC: access denied' });
    expect(heard).toMatchObject([
      {
        id: answer.headers['x-enmesh-decision'],
        near: [
          'shop/product-callers rule 0: source.principals is cluster.local/ns/shop/sa/visitor, wants cluster.local/ns/shop/sa/gateway',
        ],
      },
    ]);
  });

  it('keeps its secrets, and those of the policy', async () => {
    await call('gateway', '/products/1', { role: 's3cret-role', key: 'letmein-8' });
    expect(heard[0]?.near).toEqual([
      'shop/product-callers rule 0: request.auth.claims[role] is present, a string, wants buyer; ' +
        'request.headers[x-api-key] is present, wants (hidden)',
    ]);
    expect(JSON.stringify(heard)).not.toMatch(/s3cret|letmein|eyJ/);
  });

  it('tells the client nothing of it', async () => {
    const answer = await call('visitor', '/products/1', { role: 'buyer' });
    expect(answer.bytes).not.toMatch(/product-callers|principals|gateway/);
  });

  it('names a DENY rule that hit without any that came close', async () => {
    await call('gateway', '/admin', { role: 'buyer' });
    expect(heard).toMatchObject([{ policy: 'shop/no-admin', rule: 0 }]);
    expect(heard[0]).not.toHaveProperty('near');
  });
});

describe('a request that fulfils what was near', () => {
  it('passes and is told to nobody', async () => {
    const answer = await call('gateway', '/products/1', { role: 'buyer', key: 'letmein-7' });
    expect(answer).toMatchObject({ status: 200, body: 'handled' });
    expect(heard).toEqual([]);
  });
});
