import { describe, expect, it } from 'vitest';
import { deniedEvents, type DeniedEvent } from '@enmesh/core';
import { createHouse, open, send } from '../support/house.js';

const open_ = `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: DISABLE}}
`;
const allow = (name: string, spec: string): string => `---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ${name}, namespace: shop}
spec: ${spec}
`;
const posts = '{rules: [{to: [{operation: {methods: [POST]}}]}, {to: [{operation: {methods: [PUT]}}]}]}';
const denies = '{action: DENY, rules: [{to: [{operation: {methods: [PATCH]}}]}, {to: [{operation: {paths: ["/*"]}}]}]}';

describe('a denied request is told of with what to look at', () => {
  it.each([
    ['the rule that denied', allow('closed', denies), 'rule 1 of DENY policy shop/closed matched', 'shop/closed'],
    ['the one ALLOW policy', allow('post', posts), 'no rule matched of ALLOW policy shop/post', undefined],
    [
      'the first five of many ALLOW policies',
      ['a', 'b', 'c', 'd', 'e', 'f', 'g'].map((name) => allow(name, posts)).join(''),
      'no rule matched of ALLOW policy shop/a, shop/b, shop/c, shop/d, shop/e and 2 more',
      undefined,
    ],
    ['an ALLOW policy that allows nothing', allow('none', '{}'), 'an ALLOW policy without rules allows nothing', undefined],
  ])('%s', async (_title, policies, reason, policy) => {
    const house = await createHouse(open_ + policies);
    const denied: DeniedEvent[] = [];
    const stop = deniedEvents.subscribe((event) => denied.push(event));
    try {
      const port = await open(house.mesh.createServer((_request, response) => response.end('ok')));
      const answer = await send({ port }, 'GET', '/a?token=secret');
      expect(answer).toMatchObject({ status: 403, body: 'RBAC: access denied' });
      const id = answer.headers['x-enmesh-decision'];
      expect(denied).toMatchObject([{ id, code: 'ENMESH_POLICY_DENIED', method: 'GET', path: '/a', reason }]);
      expect(denied[0]?.policy).toBe(policy);
    } finally {
      stop();
      await house.close();
    }
  });
});
