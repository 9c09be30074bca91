import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { RequestEnmesh } from '@enmesh/core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createCallers, listenOn, serviceAt, type Callers } from '../support/callers.js';
import { untilHolds } from '../support/waiting.js';

const root = resolve(import.meta.dirname, '../..');
const page = readFileSync(join(root, 'docs/clients.md'), 'utf8');
const fragments = [...page.matchAll(/^ *```js\n([^]*?)^ *```$/gm)].map(([, text = '']) => text);

let callers: Callers;
let folder: string;
const seen: string[] = [];

beforeAll(async () => {
  callers = await createCallers();
  const stock = await callers.open('stock');
  const note = (request: unknown): void => {
    const { enmesh, url } = request as { enmesh: RequestEnmesh; url: string };
    seen.push(`${enmesh.peer?.uri} ${url}`);
  };
  const server = stock.mesh.createServer((request, response) => {
    note(request);
    response.end('{}');
  });
  server.on('upgrade', (request, socket) => {
    note(request);
    socket.end('HTTP/1.1 503 Closed\r\nConnection: close\r\n\r\n');
  });
  const gateway = await callers.open('gateway', { 'stock.yaml': serviceAt('stock', [await listenOn(server)]) });
  Object.assign(globalThis, { clientsPage: { mesh: gateway.mesh } });
  // Inside the repository, so that the fragments find its packages.
  mkdirSync(join(root, 'node_modules/.cache'), { recursive: true });
  folder = mkdtempSync(join(root, 'node_modules/.cache/enmesh-clients-'));
});
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  await callers.close();
});

it.each(fragments.map((text, i) => [i, text.trim().split('\n')[0], text]))(
  'fragment %i of docs/clients.md runs: %s',
  async (i, _first, text) => {
    seen.length = 0;
    const file = join(folder, `${i}.mjs`);
    const quiet = 'const { mesh } = globalThis.clientsPage;\nconst console = { log() {} };\n';
    writeFileSync(file, quiet + String(text).replace("socket.on('message'", "socket.on('error', () => {}).on('message'"));
    await import(pathToFileURL(file).href);
    const path = String(text).includes('/changes') ? '/changes' : '/items/1';
    await untilHolds(() => expect(seen).toEqual([`spiffe://cluster.local/ns/shop/sa/gateway ${path}`]));
  },
);

it('shows each of its clients', () => {
  expect(fragments.length).toBe(8);
});
