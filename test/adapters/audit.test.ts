import Fastify from 'fastify';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { auditEvents, type AuditEvent } from '@enmesh/core';
import { enmesh as plugin } from '@enmesh/fastify';
import { doors, middlewares, type Application } from '../support/frameworks.js';
import { createHouse, open, send, type House } from '../support/house.js';
import { until } from '../support/waiting.js';

const policies = `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: echo-only, namespace: shop}
spec: {rules: [{to: [{operation: {paths: [/echo]}}]}]}
`;

let house: House;
let events: AuditEvent[];
let stop: () => void;
beforeAll(async () => void (house = await createHouse(policies)));
afterAll(() => house.close());
beforeEach(() => {
  events = [];
  stop = auditEvents.subscribe((event) => events.push(event));
});
afterEach(() => stop());

async function told(): Promise<AuditEvent> {
  await until(() => events.length > 0, 'an audit event');
  expect(events).toHaveLength(1);
  return events[0] as AuditEvent;
}

const forms: [string, (mesh: House['mesh']) => Promise<Application>][] = [
  ...Object.entries(doors).map(([name, form]) => [`${name} at the door`, form] as [string, typeof form]),
  ...Object.entries(middlewares).map(([name, form]) => [`${name} as middleware`, form] as [string, typeof form]),
];

describe.each(forms)('the audit of %s', (_name, form) => {
  let application: Application;
  beforeAll(async () => void (application = await form(house.mesh)));
  afterAll(() => application.close());

  it('has one event for a request, with the bytes of both bodies', async () => {
    const answer = await send({ port: application.port }, 'POST', '/echo?a=b', [['Content-Type', 'text/x']], 'y'.repeat(20_000));
    expect(answer.status).toBe(200);
    expect(await told()).toMatchObject({
      kind: 'request',
      verdict: 'allowed',
      policy: 'shop/echo-only',
      path: '/echo',
      status: 200,
      requestBytes: 20_000,
      responseBytes: Buffer.byteLength(answer.body),
      isComplete: true,
    });
  });

  it('has one event for a refusal, with its id', async () => {
    const answer = await send({ port: application.port }, 'GET', '/private');
    expect(await told()).toMatchObject({ verdict: 'refused', id: answer.headers['x-enmesh-decision'], status: 403 });
  });
});

it('with nobody listening nothing is gathered: request and response are as Node made them', async () => {
  const own: boolean[] = [];
  const server = house.mesh.createServer((request, response) => {
    own.push(Object.hasOwn(request, 'push') || Object.hasOwn(response, 'write') || response.listenerCount('close') > 1);
    response.end();
  });
  const port = await open(server);
  stop();
  await send({ port }, 'POST', '/echo', [], 'body');
  stop = auditEvents.subscribe((event) => events.push(event));
  await send({ port }, 'POST', '/echo', [], 'body');
  expect(own).toEqual([false, true]);
  server.close();
});

it('the audit of requests that Fastify is given by inject has an end as well', async () => {
  const app = Fastify();
  await app.register(plugin, { mesh: house.mesh });
  app.get('/echo', () => 'four');
  await app.inject('/echo');
  expect(await told()).toMatchObject({ status: 200, responseBytes: 4 });
  await app.close();
});
