import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import { createRequire } from 'node:module';
import { connect, type AddressInfo } from 'node:net';
import express5 from 'express';
import fastify from 'fastify';
import { afterAll, describe, expect, it } from 'vitest';
import { compilePolicies } from '../../packages/core/src/policy/compile.js';
import { evaluatePolicies } from '../../packages/core/src/policy/evaluate.js';
import type { RequestAttributes } from '../../packages/core/src/request/attributes.js';
import { parseTarget, type PathNormalization, type RequestTarget } from '../../packages/core/src/request/normalize.js';
import {
  bareRouter,
  expressRouter,
  fastifyRouter,
  isAmbiguousForRouter,
  pathSpellings,
  type RouterSettings,
} from '../../packages/core/src/request/router.js';
import { heard } from '../support/waiting.js';

// The alias has no types of its own.
const express4: unknown = createRequire(import.meta.url)('express4');

/** The guarded routes; each application answers `guarded` there and nowhere else. */
const guarded = ['/admin', '/api/admin', '/api', '/outer/api/admin', '/outer/api', '/outer', '/a b', '/café', '/x;y'] as const;

const raws = [
  ...[
    '/admin',
    '/ADMIN',
    '/Admin/',
    '/admin/',
    '/admin//',
    '//admin',
    '/admin?x',
    '/admin#x',
    '/admin?#',
    '/admin;x',
    '/admin;',
    '/admin%3bx',
  ],
  ...[
    '/%61dmin',
    '/%41dmin',
    '/adm%69n/',
    '/admin%2f',
    '/admin%2F/',
    '/%2fadmin',
    '/admin%5c',
    '/\\admin',
    '/x/../admin',
    '/x/%2e%2e/admin',
  ],
  ...[
    '/x/..%2fadmin',
    '/x/..;/admin',
    '/x/%2e%2e;/admin',
    '/./admin',
    '/.;/admin',
    '/admin/.',
    '/admin/x/..',
    '/admin%00',
    '/admin%0a',
    '/admin%23',
  ],
  ...[
    '/admin%3f',
    '/admin%25',
    '/%2561dmin',
    '/adm%E2%84%AAn',
    '/admin%c0%af',
    '/admin%zz',
    '/api/admin',
    '/api//admin',
    '/api///admin',
  ],
  ...[
    '/API//Admin/',
    '//api/admin',
    '/api/admin//',
    '/api',
    '/api/',
    '/api//',
    '/API',
    '/api/;/admin',
    '/api%2fadmin',
    '/api/%2e/admin',
  ],
  ...[
    '/outer/api/admin',
    '/outer//api/admin',
    '/outer//api//admin',
    '/outer/api',
    '/outer/api/',
    '/outer/api//',
    '/outer//api//',
    '/outer',
    '/outer/',
  ],
  ...[
    '/outer//',
    '/OUTER/api/ADMIN/',
    '/a%20b',
    '/A%20B/',
    '/a%2520b',
    '/caf%C3%A9',
    '/caf%c3%a9',
    '/CAF%C3%89',
    '/x;y',
    '/x%3By',
    '/x%3by',
    '/x',
  ],
  ...['http://host/admin', 'HTTP://host//admin', 'http://host/api//admin/'],
];

const modes: readonly PathNormalization[] = ['NONE', 'BASE', 'MERGE_SLASHES', 'DECODE_AND_MERGE_SLASHES'];

type Handler = (request: object, response: { end(text: string): void }) => void;
interface RouterLike {
  get(path: string, handler: Handler): void;
  use(path: string, router: unknown): void;
}

const answer: Handler = (_request, response) => response.end('guarded');

function expressApp(framework: unknown, outer: boolean, inner: boolean): RequestListener {
  const make = framework as (() => RouterLike & { set(name: string, on: boolean): void } & RequestListener) & {
    Router(options: object): RouterLike;
  };
  const app = make();
  app.set('strict routing', outer);
  app.set('case sensitive routing', outer);
  const router = (): RouterLike => make.Router(inner ? { strict: true, caseSensitive: true } : {});
  for (const path of ['/admin', '/a b', '/x;y']) app.get(path, answer);
  const api = router();
  api.get('/admin', answer);
  api.get('/', answer);
  app.use('/api', api);
  const mounted = router();
  mounted.use('/api', api);
  mounted.get('/', answer);
  app.use('/outer', mounted);
  return app;
}

async function fastifyApp(routerOptions: object): Promise<RequestListener> {
  const app = fastify({ routerOptions });
  for (const path of guarded) app.get(path, (_request, reply) => reply.send('guarded'));
  await app.ready();
  return (request, response) => app.routing(request, response);
}

const bareApp: RequestListener = (request, response) =>
  response.end(guarded.some((path) => path === request.url?.split('?')[0]) ? 'guarded' : 'other');

const servers: Server[] = [];
afterAll(() => {
  for (const server of servers) server.close();
});

/** Sends raw targets to a listener, all over one connection, and tells which the guarded handlers answered. */
async function askAll(listener: RequestListener, targets: readonly string[]): Promise<readonly boolean[]> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  servers.push(server);
  await once(server, 'listening');
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const results: boolean[] = [];
  let received = '';
  socket.on('data', (bytes) => (received += bytes.toString('latin1')));
  for (const target of targets) {
    received = '';
    socket.write(`GET ${target} HTTP/1.1\r\nHost: host\r\n\r\n`);
    while (!isComplete(received)) await heard(socket, 'data');
    results.push(received.endsWith('guarded'));
  }
  socket.destroy();
  return results;
}

function isComplete(response: string): boolean {
  const end = response.indexOf('\r\n\r\n');
  const length = /content-length: (\d+)/i.exec(response)?.[1];
  return end !== -1 && length !== undefined && response.length >= end + 4 + Number(length);
}

function attributesOf(target: RequestTarget, settings: RouterSettings): RequestAttributes {
  return {
    method: 'GET',
    path: target.path,
    pathSpellings: pathSpellings(target.path, settings),
    pathIgnoresCase: !settings.caseSensitive,
    host: 'host',
    sourceIp: '127.0.0.1',
    remoteIp: '127.0.0.1',
    destinationIp: '127.0.0.1',
    destinationPort: 80,
    sni: '',
    peer: undefined,
    user: undefined,
    header: () => undefined,
  };
}

const mesh = { trustDomain: 'cluster.local', trustDomainAliases: [], rootNamespace: 'istio-system' };

function policyFor(action: 'DENY' | 'ALLOW', operation: object): ReturnType<typeof compilePolicies> {
  const meta = {
    kind: 'AuthorizationPolicy',
    namespace: 'shop',
    name: 'guard',
    creationTimestamp: 0,
    labels: {},
    annotations: {},
  };
  const source = { file: 'guard.yaml', line: 1, column: 1 };
  return compilePolicies(
    [{ meta: { ...meta, source }, spec: { action, rules: [{ to: [{ operation }] }] } }],
    { namespace: 'shop', labels: {} },
    mesh,
  );
}

/** Denies the guarded paths as written, and with a slash behind; or allows all but them. */
const guards = [
  policyFor('DENY', { paths: guarded }),
  policyFor('DENY', { paths: guarded.map((path) => `${path}/`) }),
  policyFor('ALLOW', { notPaths: guarded }),
];
const applies = (settings: RouterSettings, index: number): boolean => index !== 1 || !settings.strictSlash;

const semicolon = { ...fastifyRouter, semicolonDelimiter: true };
const loose = { ...fastifyRouter, caseSensitive: false, strictSlash: false, mergesSlashes: true };
const frameworks: readonly (readonly [string, RouterSettings, () => RequestListener | Promise<RequestListener>])[] = [
  ['node:http', bareRouter, () => bareApp],
  ['Express 5', expressRouter, () => expressApp(express5, false, false)],
  ['Express 5, strict and case-sensitive', expressRouter, () => expressApp(express5, true, true)],
  ['Express 5, strict with mounted default routers', expressRouter, () => expressApp(express5, true, false)],
  ['Express 4', expressRouter, () => expressApp(express4, false, false)],
  ['Express 4, strict and case-sensitive', expressRouter, () => expressApp(express4, true, true)],
  ['Express 4, strict with mounted default routers', expressRouter, () => expressApp(express4, true, false)],
  ['Fastify 5', fastifyRouter, () => fastifyApp({})],
  ['Fastify 5 with semicolon delimiter', semicolon, () => fastifyApp({ useSemicolonDelimiter: true })],
  [
    'Fastify 5 that ignores case and slashes',
    loose,
    () => fastifyApp({ caseSensitive: false, ignoreTrailingSlash: true, ignoreDuplicateSlashes: true }),
  ],
];

describe.each(frameworks)('%s', (_name, settings, listen) => {
  it.each(modes)('routes no spelling to a guarded handler that a policy on its path does not stop, under %s', async (mode) => {
    const targets = raws.map((raw) => parseTarget(raw, mode)).filter((target): target is RequestTarget => target.ok);
    const passing = targets.filter((target) => !isAmbiguousForRouter(target.path, settings));
    const reached = await askAll(
      await listen(),
      passing.map((target) => target.path + target.query),
    );
    expect(reached.filter(Boolean).length).toBeGreaterThan(10);
    const missed = passing.filter((target, index) => {
      const attributes = attributesOf(target, settings);
      return (
        reached[index] === true &&
        guards.some((guard, at) => applies(settings, at) && evaluatePolicies(guard, attributes).allowed)
      );
    });
    expect(missed.map((target) => target.path)).toEqual([]);
  });
});

describe('the spellings of a router', () => {
  it('are needed: without them a policy on the path is missed in Express and in Fastify', async () => {
    for (const [listener, settings] of [
      [expressApp(express5, false, false), expressRouter],
      [await fastifyApp({}), fastifyRouter],
    ] as const) {
      const targets = raws.map((raw) => parseTarget(raw, 'NONE')).filter((target): target is RequestTarget => target.ok);
      const passing = targets.filter((target) => !isAmbiguousForRouter(target.path, settings));
      const reached = await askAll(
        listener,
        passing.map((target) => target.path),
      );
      const deny = guards[0] as (typeof guards)[number];
      expect(
        passing.some(
          (target, index) => reached[index] === true && evaluatePolicies(deny, attributesOf(target, bareRouter)).allowed,
        ),
      ).toBe(true);
    }
  });
});
