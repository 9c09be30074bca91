import { createServer, get, request as httpRequest, type IncomingMessage, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Mesh } from '@enmesh/core';
import { createHouse, open, send } from './house.js';

/** What became of the copies that handlers made of the tokens of their requests. */
export interface CanaryTally {
  readonly leaks: number;
  /** Calls that were refused with ENMESH_PROPAGATION_EGRESS. */
  readonly refused: number;
  /** Calls that ended otherwise than answered or refused so. */
  readonly failed: readonly string[];
  /** Calls that reached the second and the third service, and those of them that held a copy. */
  readonly reached: readonly [second: number, third: number];
  readonly escaped: readonly [second: number, third: number];
}

const percent = (text: string): string => [...text].map((c) => `%${c.charCodeAt(0).toString(16).padStart(2, '0')}`).join('');
const forms: readonly ((text: string) => string)[] = [
  (text) => text,
  (text) => `Bearer ${text}`,
  percent,
  (text) => percent(text).toUpperCase(),
  (text) => Buffer.from(text).toString('base64'),
  (text) => Buffer.from(text).toString('base64url'),
  (text) => Buffer.from(`user:${text}`).toString('base64'),
  (text) => encodeURIComponent(Buffer.from(text).toString('base64')),
  (text) => JSON.stringify({ user: 1, token: text }),
];
const partsOf = (token: string): readonly string[] => [token, token.split('.')[1] ?? '', token.split('.')[2] ?? ''];
const places = ['header', 'lines', 'cookie', 'query', 'path'] as const;
const clients = ['fetch', 'request', 'agent'] as const;
const ways = ['header', 'query', 'cookie'] as const;

/** One call that a handler makes with a copy of the token. */
interface Leak {
  readonly client: (typeof clients)[number];
  readonly path: string;
  readonly headers: Readonly<Record<string, string | string[]>>;
}

const policies = `
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: users, namespace: shop}
spec:
  jwtRules:
  - {issuer: ISSUER, jwks: 'JWKS', fromHeaders: [{name: Authorization, prefix: 'Bearer '}], fromParams: [access_token], fromCookies: [session]}
`;

/**
 * Runs `count` random graphs of calls through three services: the first copies the token of its request by hand into 1 to 3 calls, the others pass on whatever they get.
 */
export async function runCanaries(options: {
  readonly count: number;
  readonly seed: number;
  readonly guard: 'refuse' | 'strip' | 'off';
}): Promise<CanaryTally> {
  const random = createRandom(options.seed);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
  const house = await createHouse(policies, { egressGuard: options.guard, requestContext: true });
  const tokens = await Promise.all(
    Array.from({ length: 40 }, (_, i) => house.issuer.sign({ sub: `user-${i}`, canary: `c-${options.seed}-${i}` })),
  );
  const copies = tokens.flatMap((token) =>
    partsOf(token).flatMap((part) =>
      // Padding is written in many ways.
      forms.map((form) => form(part).replace(/(=|%3D)+$/, '')),
    ),
  );
  const tally = {
    leaks: 0,
    refused: 0,
    failed: [] as string[],
    reached: [0, 0] as [number, number],
    escaped: [0, 0] as [number, number],
  };
  const note = (hop: 0 | 1, request: IncomingMessage): void => {
    const wire = `${request.url}\n${request.rawHeaders.join('\n')}`;
    tally.reached[hop]++;
    if (copies.some((copy) => wire.includes(copy))) tally.escaped[hop]++;
  };
  const third = await listen((request, response) => {
    note(1, request);
    response.end();
  });
  const second = await listen((request, response) => {
    note(0, request);
    void passOn(request, third.port).then(() => response.end());
  });
  const graphs = new Map<string, readonly Leak[]>();
  const handle: RequestListener = (request, response) => {
    void (async () => {
      for (const leak of graphs.get(String(request.headers['x-graph'])) ?? []) {
        const outcome = await call(house.mesh, second.port, leak);
        if (outcome === 'ENMESH_PROPAGATION_EGRESS') tally.refused++;
        else if (outcome !== 'answered') tally.failed.push(outcome);
      }
      response.end();
    })();
  };
  const port = await open(house.mesh.createServer(handle));
  const runOne = async (id: string): Promise<void> => {
    const token = pick(tokens);
    const leaks = Array.from({ length: 1 + Math.floor(random() * 3) }, () => createLeak(pick, token));
    tally.leaks += leaks.length;
    graphs.set(id, leaks);
    const status = await enter(port, pick(ways), token, id);
    graphs.delete(id);
    if (status !== 200) tally.failed.push(`status ${status} at the door`);
  };
  for (let id = 0; id < options.count; id += 8)
    await Promise.all(Array.from({ length: Math.min(8, options.count - id) }, (_, i) => runOne(String(id + i))));
  await Promise.all([second.close(), third.close(), house.close()]);
  return tally;
}

function createLeak(pick: <T>(list: readonly T[]) => T, token: string): Leak {
  const text = pick(forms)(pick(partsOf(token)));
  const client = pick(clients);
  const inUrl = text.replace(/[ "{},:]/g, encodeURIComponent).replaceAll('=', '%3D');
  switch (pick(places)) {
    case 'header':
      return { client, path: '/', headers: { 'x-copy': text } };
    case 'lines':
      return { client, path: '/', headers: { 'x-copy': ['something else', text] } };
    case 'cookie':
      return { client, path: '/', headers: { cookie: `theme=dark; copy=${inUrl}; lang=de` } };
    case 'query':
      return { client, path: `/stock?item=1&copy=${inUrl}&page=2`, headers: {} };
    default:
      return { client, path: `/stock/${inUrl}/item`, headers: {} };
  }
}

/** `answered`, or the code of the error. */
async function call(mesh: Mesh, port: number, { client, path, headers }: Leak): Promise<string> {
  const url = `http://127.0.0.1:${port}${path}`;
  try {
    if (client === 'fetch') {
      const lines = Object.entries(headers).flatMap(([name, values]) =>
        [values].flat().map((value): [string, string] => [name, value]),
      );
      await (await mesh.fetch(url, { headers: lines })).text();
    } else if (client === 'request') await (await mesh.request(url, { headers })).body.dump();
    else await asked(get(url, { agent: mesh.agent, headers }));
    return 'answered';
  } catch (error) {
    const { code, cause } = error as { code?: string; cause?: { code?: string } };
    return code ?? cause?.code ?? String(error);
  }
}

function asked(request: ReturnType<typeof get>): Promise<void> {
  return new Promise((done, fail) => {
    request.on('error', fail);
    request.on('response', (answer) => void answer.resume().on('end', done));
  });
}

async function enter(port: number, way: (typeof ways)[number], token: string, id: string): Promise<number> {
  const headers: [string, string][] = [['x-graph', id]];
  if (way === 'header') headers.push(['Authorization', `Bearer ${token}`]);
  if (way === 'cookie') headers.push(['Cookie', `session=${token}`]);
  return (await send({ port }, 'GET', way === 'query' ? `/?access_token=${token}` : '/', headers)).status;
}

/** Passes a request on as a careless service does: its target and every header. */
function passOn({ url, headers }: IncomingMessage, port: number): Promise<void> {
  const request = httpRequest({ host: '127.0.0.1', port, path: url, headers });
  request.end();
  return asked(request);
}

async function listen(handle: RequestListener): Promise<{ readonly port: number; close(): Promise<void> }> {
  const server = createServer(handle);
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const close = (): Promise<void> => {
    server.closeAllConnections();
    return new Promise((done) => server.close(() => done()));
  };
  return { port: (server.address() as AddressInfo).port, close };
}

/** mulberry32: the same graphs for the same seed. */
function createRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
