import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stepEvents, steps, type Step, type StepEvent } from '@enmesh/core';
import { createHouse, open, send, type House } from '../support/house.js';
import { peerAuthentication, serviceEntry } from '../support/documents.js';

const root = new URL('../../', import.meta.url);
const read = (path: string): string => readFileSync(new URL(path, root), 'utf8');

/** Steps that belong to calls which leave the process; the others are those of a request that arrives. */
const outgoing: readonly Step[] = ['outbound', 'connect'];
const incoming = steps.filter((step) => !outgoing.includes(step));

const policies = (port: number): string => `${peerAuthentication('STRICT')}---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: users, namespace: shop}
spec: {jwtRules: [{issuer: ISSUER, jwks: 'JWKS'}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: gateway-only, namespace: shop}
spec: {rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/gateway, cluster.local/ns/shop/sa/product]}}]}]}
---${serviceEntry({ name: 'product', port })}`;

let house: House;
let port: number;
const heard: StepEvent[] = [];
const stops: (() => void)[] = [];

beforeAll(async () => {
  house = await createHouse(policies(1));
  port = await open(house.mesh.createServer((_request, response) => response.end('handled')));
  await house.write('policies.yaml', policies(port));
  for (const step of steps) stops.push(stepEvents[step].subscribe((event) => heard.push(event)));
});
afterAll(async () => {
  for (const stop of stops) stop();
  await house.close();
});

describe('the story of one request', () => {
  it('has the same steps in the same order in docs/request.md, in the code and in the events', async () => {
    const documented = [...read('docs/request.md').matchAll(/^\| `([a-z-]+)`/gm)].map(([, step]) => step);
    expect(documented).toEqual([...steps]);

    const story = /const story = [\s\S]*?\n {2}return \{/.exec(read('packages/core/src/inbound/inbound.ts'))?.[0] ?? '';
    const called = [...story.matchAll(/\b(accept|peerIdentity|normalize|strip|custom|jwt|authorize|handOver)\(/g)].map(
      ([, name]) => name?.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`),
    );
    expect([...called, 'handler']).toEqual(incoming);

    heard.length = 0;
    const token = await house.issuer.sign({ sub: 'jane' });
    const as = await house.svid('gateway');
    const answer = await send({ port, as, roots: [house.authority.rootPem] }, 'GET', '/', [['Authorization', `Bearer ${token}`]]);
    expect(answer.status).toBe(200);
    expect(heard.map(({ step, outcome }) => `${step} ${outcome}`)).toEqual(incoming.map((step) => `${step} passed`));
  });

  it('tells the two steps of a call that leaves the process before those of its arrival', async () => {
    heard.length = 0;
    const response = await house.mesh.request('http://product.shop.svc.cluster.local/');
    expect(await response.body.text()).toBe('handled');
    expect(new Set(heard.map(({ step }) => step))).toEqual(new Set(steps));
    expect(heard[0]?.step).toBe('outbound');
  });

  it.each([
    ['accept', undefined, '/', []],
    ['normalize', 'gateway', '/%00', []],
    [
      'strip',
      'gateway',
      '/',
      [
        ['Host', 'a'],
        ['Host', 'b'],
      ],
    ],
    ['jwt', 'gateway', '/', [['Authorization', 'Bearer not.a.token']]],
    ['authorize', 'stranger', '/', []],
  ] as [Step, string | undefined, string, [string, string][]][])(
    'ends at %s when that step refuses, and no later step is told',
    async (step, caller, target, headers) => {
      heard.length = 0;
      const as = caller === undefined ? undefined : await house.svid(caller);
      await send({ port, as, roots: [house.authority.rootPem] }, 'GET', target, headers);
      expect(heard.at(-1)).toMatchObject({ step, outcome: 'refused' });
      expect(heard.filter(({ outcome }) => outcome === 'refused')).toHaveLength(1);
    },
  );
});
