import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import express5 from 'express';
import express4 from 'express4';
import Fastify from 'fastify';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Mesh } from '@enmesh/core';
import { listen } from '@enmesh/express';
import { serverFactory } from '@enmesh/fastify';
import { createHouse, open, type House } from '../../support/house.js';

// Spellings of a route that each router treats alike, policies against them: test/conformance/router-spellings.test.ts.
// Istio's and Envoy's own normalization cases: test/conformance/path.test.ts.
const corpora = process.env['ENMESH_CORPORA'] ?? resolve(import.meta.dirname, '../../../../shared/corpora');
const lists = ['deep_traversal', 'traversals-8-deep-exotic-encoding', 'dotdotpwn'].map((name) =>
  resolve(corpora, `path-traversal/${name}.txt`),
);
const present = lists.every((file) => existsSync(file));
if (!present) console.log(`skip: the path traversal corpus was not found below ${corpora}`);

/** The ways up of the corpus, put before what is guarded; the file they led to is cut off. */
function waysUp(): string[] {
  const lines = lists.flatMap((file) => readFileSync(file, 'latin1').split('\n'));
  const ways = lines.map((line) =>
    line.replace(/\{FILE\}|etc.{1,12}(?:passwd|issue).*|boot\.ini.*|windows.*|winnt.*/i, '').trim(),
  );
  return [...new Set(ways)].filter((way) => way !== '');
}

const open_ = `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: PERMISSIVE}}
---
`;
const deny = `${open_}
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-private, namespace: shop}
spec: {action: DENY, rules: [{to: [{operation: {paths: ["/private", "/private/*", "/items/private", "/api/items/private"]}}]}]}
`;
const allow = `${open_}
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: only-public, namespace: shop}
spec: {rules: [{to: [{operation: {paths: ["/public", "/public/*", "/items/public"]}}]}]}
`;

const marker = 'the-guarded-text';
let root: string;
const houses: Record<string, House> = {};
const normalizations = ['NONE', 'BASE', 'MERGE_SLASHES', 'DECODE_AND_MERGE_SLASHES'] as const;

/** A house whose mesh normalizes paths so. */
async function houseOf(policies: string, normalization: string): Promise<House> {
  const house = await createHouse(policies);
  mkdirSync(join(house.directory, 'enmesh'));
  await house.write('enmesh/mesh.yaml', `pathNormalization: {normalization: ${normalization}}\n`);
  return house;
}
beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'enmesh-static-'));
  for (const name of ['public', 'private']) mkdirSync(join(root, name));
  writeFileSync(join(root, 'private', 'secret.html'), marker);
  writeFileSync(join(root, 'public', 'page.html'), 'anyone');
  for (const mode of normalizations) {
    houses[`DENY ${mode}`] = await houseOf(deny, mode);
    houses[`ALLOW ${mode}`] = await houseOf(allow, mode);
  }
});
afterAll(async () => {
  for (const house of Object.values(houses)) await house.close();
  rmSync(root, { recursive: true, force: true });
});

async function expressApp(framework: typeof express5, mesh: Mesh, style: 'door' | 'core' = 'door'): Promise<number> {
  const app = framework();
  const items = framework.Router({ mergeParams: true });
  items.get('/:name', (request, response) => void response.end(request.params['name'] === 'private' ? marker : 'an item'));
  app.use('/items', items);
  const api = framework.Router();
  api.use('/items', items);
  app.use('/api', api);
  app.get('/private', (_request, response) => void response.end(marker));
  app.use(framework.static(root));
  if (style === 'core') return open(mesh.createServer(app));
  const server = await listen(mesh, app, 0, { host: '127.0.0.1' });
  return (server.address() as { port: number }).port;
}

async function fastifyApp(mesh: Mesh): Promise<number> {
  const app = Fastify({ serverFactory: serverFactory(mesh) as never, exposeHeadRoutes: true });
  app.get('/private', () => marker);
  app.get<{ Params: { name: string } }>('/items/:name', ({ params }) => (params.name === 'private' ? marker : 'an item'));
  app.get<{ Params: { name: string } }>('/api/items/:name', ({ params }) => (params.name === 'private' ? marker : 'an item'));
  // What a static file plugin does with its wildcard: decoded by the router, resolved by the file system.
  app.get<{ Params: { '*': string } }>('/*', ({ params }, reply) => {
    const file = resolve('/', params['*']);
    if (existsSync(join(root, file)) && file !== '/') return reply.send(readFileSync(join(root, file), 'utf8'));
    return reply.code(404).send('');
  });
  await app.listen({ port: 0, host: '127.0.0.1' });
  return (app.server.address() as { port: number }).port;
}

const apps: Record<string, (mesh: Mesh) => Promise<number>> = {
  'Express 5': (mesh) => expressApp(express5, mesh),
  'Express 4': (mesh) => expressApp(express4 as unknown as typeof express5, mesh),
  'Express 5 given to mesh.createServer': (mesh) => expressApp(express5, mesh, 'core'),
  Fastify: fastifyApp,
};

/** Ways to write a path of these segments that some server reads as the path itself. */
const rewritings: readonly ((path: string) => string)[] = [
  (path) => path,
  (path) => `${path}/`,
  (path) => path.toUpperCase(),
  (path) => path.replace('private', 'Private'),
  (path) => path.replace('p', '%70'),
  (path) => path.replace('private', '%70%72%69%76%61%74%65'),
  (path) => path.replaceAll('/', '//'),
  (path) => `/.${path}`,
  (path) => `/x/..${path}`,
  (path) => `/x/%2e%2e${path}`,
  (path) => `/x/.%2E${path}`,
  (path) => `/x/..;${path}`,
  (path) => `/x/..;a=b${path}`,
  (path) => `/x/%2e%2e;${path}`,
  (path) => `/x/..%2f${path.slice(1)}`,
  (path) => `/x/..%2F${path.slice(1)}`,
  (path) => `/public/..%2f${path.slice(1)}`,
  (path) => `/public/%2e%2e%2f${path.slice(1)}`,
  (path) => `/public%2f..${path}`,
  (path) => `/public%2f%2e%2e%2f${path.slice(1)}`,
  (path) => `/public/x%2f..%2f..%2f${path.slice(1)}`,
  (path) => `/public/..%5c${path.slice(1)}`,
  (path) => `/public/..\\${path.slice(1)}`,
  (path) => `/public/..%252f${path.slice(1)}`,
  (path) => `/public/%252e%252e%252f${path.slice(1)}`,
  (path) => `/%2f${path.slice(1)}`,
  (path) => `/${path.slice(1).replaceAll('/', '%2f')}`,
  (path) => `/${path.slice(1).replaceAll('/', '%2F')}`,
  (path) => `/${path.slice(1).replaceAll('/', '%5c')}`,
  (path) => `\\${path.slice(1)}`,
  (path) => `${path}?x=/public`,
  (path) => `${path}#/public`,
  (path) => `/public?/..${path}`,
  (path) => `/public#${path}`,
  (path) => `${path};x=1`,
  (path) => `${path}%00`,
  (path) => `${path}%00.html`,
  (path) => `${path}%20`,
  (path) => `${path}%0a`,
  (path) => `${path}.`,
  (path) => `http://product.shop${path}`,
  (path) => `HTTP://product.shop${path}`,
  (path) => `http://product.shop/public/..${path}`,
  (path) => `//product.shop${path}`,
  (path) => `/public/../${path}`,
  (path) => `/public/./..//${path}`,
];
const guarded = ['/private', '/private/secret.html', '/items/private', '/api/items/private'];
const targets = [...new Set(guarded.flatMap((path) => rewritings.map((rewrite) => rewrite(path))))].filter(
  (target) => !/[ #]\s/.test(target),
);

/** Sends many targets, a few connections at a time, and gives those whose answer held the marker. */
async function leaks(port: number, all: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  const queue = all.values();
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      for (const target of queue) {
        const answer = await ask(port, target);
        if (answer.includes(marker)) found.push(target);
      }
    }),
  );
  return found;
}

function ask(port: number, target: string): Promise<string> {
  return new Promise((done) => {
    const socket = connect(port, '127.0.0.1');
    let received = '';
    socket.on('data', (chunk: Buffer) => (received += chunk.toString('latin1')));
    socket.on('error', () => {});
    socket.on('close', () => done(received));
    socket.write(`GET ${target} HTTP/1.1\r\nHost: product.shop\r\nConnection: close\r\n\r\n`, 'latin1');
  });
}

it('the ways up of the corpus are ways: without a mesh some of them lead to what is guarded', async () => {
  const app = express5().use(express5.static(root));
  const server = createServer(app);
  const port = await open(server);
  expect(
    (
      await leaks(
        port,
        present
          ? waysUp()
              .map((way) => `/public/${way}private/secret.html`)
              .slice(0, 500)
          : targets,
      )
    ).length,
  ).toBeGreaterThan(1);
  server.close();
});

describe("rule 3: the policy's path is the path the router will route", () => {
  describe.each(Object.entries(apps))('%s', (_name, start) => {
    it.each(normalizations.flatMap((mode) => [`DENY ${mode}`, `ALLOW ${mode}`]))(
      'shows what is guarded by %s under no spelling, mounted routers, parameters and static files included',
      async (house) => {
        const port = await start((houses[house] as House).mesh);
        expect(await ask(port, '/public/page.html')).toContain('anyone');
        expect(await leaks(port, targets)).toEqual([]);
      },
    );

    it.skipIf(!present).each(['DENY', 'ALLOW'])('shows what is guarded by %s on no way up of the corpus', async (action) => {
      const port = await start((houses[`${action} BASE`] as House).mesh);
      const ways = waysUp();
      expect(ways.length).toBeGreaterThan(5_000);
      const sample = ways
        .filter((_way, i) => i % 10 === 0)
        .flatMap((way) => [`/public/${way}private/secret.html`, `/${way}private/secret.html`]);
      expect(await leaks(port, sample)).toEqual([]);
    });
  });

  it('a bare listener that decodes by itself never gets a dot segment behind an encoded slash', async () => {
    const served: (string | undefined)[] = [];
    const port = await open(
      (houses['ALLOW BASE'] as House).mesh.createServer((request, response) => {
        served.push(request.url);
        response.end(decodeURIComponent(request.url?.split('?')[0] ?? '').includes('/../private') ? marker : 'anyone');
      }),
    );
    expect(await ask(port, '/public/a%2fb')).toContain('anyone');
    expect(await leaks(port, targets)).toEqual([]);
    expect(served.filter((url) => /%2f/i.test(url ?? ''))).toEqual(['/public/a%2fb']);
  });
});
