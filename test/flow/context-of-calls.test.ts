import { request as httpRequest, type IncomingMessage } from 'node:http';
import { once } from 'node:events';
import { Writable, type Duplex } from 'node:stream';
import type { Dispatcher } from 'undici';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { serviceEntry } from '../support/documents.js';
import { createChain, type Chain, type ChainService } from '../support/hop-chain.js';
import { open, send } from '../support/house.js';

const yaml = `
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: users, namespace: shop}
spec: {selector: {matchLabels: {app: gateway}}, jwtRules: [{issuer: ISSUER, jwks: 'JWKS'}]}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: modes, namespace: shop}
spec: {selector: {matchLabels: {app: gateway}}, mtls: {mode: PERMISSIVE}}
---
apiVersion: enmesh.dev/v1
kind: TokenPropagation
metadata: {name: gateway, namespace: shop}
spec:
  selector: {matchLabels: {app: gateway}}
  outbound: [{hosts: [product.shop.svc.cluster.local], mode: HOP}]
---
apiVersion: enmesh.dev/v1
kind: TokenPropagation
metadata: {name: product, namespace: shop}
spec:
  selector: {matchLabels: {app: product}}
  inbound: [{principals: [cluster.local/ns/shop/sa/gateway], issuers: [ISSUER]}]
`;

let chain: Chain;
let gateway: ChainService;
let product: ChainService;
let breaks = 0;
/** Has a request for `/twice` answered to its end, once its first half has arrived. */
let release = (): void => {};
beforeAll(async () => {
  chain = await createChain({ services: ['gateway', 'product'], yaml });
  gateway = chain.of('gateway');
  product = chain.of('product');
  product.handle = (request: IncomingMessage & { enmesh?: { user?: { principal?: string } } }, response) => {
    if (request.headers['x-break'] !== undefined && breaks++ === 0) return void request.socket.destroy();
    const user = request.enmesh?.user?.principal?.split('/').at(-1) ?? 'nobody';
    if (request.url !== '/twice') return void response.end(user);
    response.write(user);
    release = () => void response.end('.');
  };
});
afterAll(() => chain.close());

type Note = () => void;
const place = { path: '/', method: 'GET' } as const;
const dispatcher = (): Dispatcher => gateway.mesh.dispatcher;

const calls: [string, (note: Note) => Promise<void>][] = [
  [
    'the body of mesh.request',
    async (note) => {
      const { body } = await gateway.mesh.request(`${product.url}/twice`);
      body.on('data', () => (note(), release())).on('end', note);
      await once(body, 'close');
    },
  ],
  [
    'dispatcher.stream',
    async (note) => {
      const sink = (): Writable => new Writable({ write: (_chunk, _encoding, done) => (note(), done()) });
      await dispatcher().stream({ ...place, origin: product.url }, sink);
    },
  ],
  [
    'a handler of undici',
    (note) =>
      new Promise((done, fail) => {
        const handler = {
          onRequestStart: note,
          onResponseStart: note,
          onResponseData: note,
          onResponseEnd: () => (note(), done()),
          onResponseError: (_controller: unknown, error: Error) => fail(error),
        };
        dispatcher().dispatch({ ...place, origin: product.url }, handler as unknown as Dispatcher.DispatchHandler);
      }),
  ],
  [
    'a request of node:http',
    (note) =>
      new Promise((done, fail) => {
        const { agent } = gateway.mesh;
        const call = httpRequest(product.url, { agent }, (answer) => {
          note();
          answer.on('data', note).on('end', () => (note(), done()));
        });
        call.on('socket', note).on('error', fail).end();
      }),
  ],
];

/** What a handler sees of itself in `note`, for alice, for bob on the connection that was opened for alice, and for a stranger. */
async function seenBy(call: (note: Note) => Promise<void>): Promise<readonly string[]> {
  const seen: string[] = [];
  gateway.handle = async (_request, response) => {
    const whoNow = (): string => gateway.mesh.context()?.user?.subject ?? 'nobody';
    const me = whoNow();
    await call(() => void seen.push(`${me} as ${whoNow()}`));
    response.end();
  };
  for (const sub of ['alice', 'bob', undefined]) {
    const token = sub && `Bearer ${await chain.issuer.sign({ sub })}`;
    const answer = await send({ port: gateway.port }, 'GET', '/', token === undefined ? [] : [['Authorization', token]]);
    expect(answer.status, answer.body).toBe(200);
  }
  return [...new Set(seen)];
}

describe('on a connection that the request of another user opened', () => {
  it.each(calls)('%s is told of its call in the context of that call', async (_title, call) => {
    expect(await seenBy(call)).toEqual(['alice as alice', 'bob as bob', 'nobody as nobody']);
  });

  it('a call out of the data of another carries the user of both', async () => {
    const carried: string[] = [];
    const answers = await seenBy(async (note) => {
      const { body } = await gateway.mesh.request(`${product.url}/twice`);
      const second = new Promise<string>((done, fail) => {
        body.on('data', (piece: Buffer) => {
          if (String(piece) !== '.') return release();
          note();
          gateway.mesh.request(product.url).then(({ body: next }) => next.text().then(done, fail), fail);
        });
      });
      carried.push(await second);
    });
    expect(answers).toEqual(['alice as alice', 'bob as bob', 'nobody as nobody']);
    expect(carried).toEqual(['alice', 'bob', 'nobody']);
  });

  it('another attempt at a call carries the user of the first', async () => {
    const carried: string[] = [];
    await seenBy(async () => {
      // So that the connection that breaks is one that the request before has left.
      await (await gateway.mesh.request(product.url)).body.dump();
      await new Promise((done) => setImmediate(done));
      breaks = 0;
      const again = { headers: { 'x-break': 'once' }, retry: { attempts: 3 } };
      carried.push(await (await gateway.mesh.request(product.url, again)).body.text());
    });
    expect(carried).toEqual(['alice', 'bob', 'nobody']);
  });
});

const echoAt = (port: number): string => `---${serviceEntry({ name: 'echo', port, serviceAccount: 'product' })}`;

describe('an upgraded connection', () => {
  const url = 'http://echo.shop.svc.cluster.local';
  const upgrades: [string, () => Promise<unknown>, () => Promise<Duplex>][] = [
    [
      'undici',
      async () => (await gateway.mesh.request(url)).body.dump(),
      async () => {
        // The types of undici leave out where an upgrade leads to.
        const upgrade = { path: '/', origin: url, protocol: 'echo' } as Dispatcher.UpgradeOptions;
        const { socket } = await (dispatcher().upgrade(upgrade) as Promise<{ socket: Duplex }>);
        return socket;
      },
    ],
    [
      'node:http',
      () =>
        new Promise((done, fail) => {
          httpRequest(url, { agent: gateway.mesh.agent }, (answer) => answer.resume().on('end', done))
            .on('error', fail)
            .end();
        }),
      () =>
        new Promise((done, fail) => {
          const headers = { connection: 'Upgrade', upgrade: 'echo' };
          httpRequest(url, { agent: gateway.mesh.agent, headers })
            .on('upgrade', (_answer, socket) => done(socket))
            .on('error', fail)
            .end();
        }),
    ],
  ];

  it.each(upgrades)('of %s is never in the context of a user who used it before', async (_title, use, upgrade) => {
    const server = product.mesh.createServer((_request, response) => void response.end('used'));
    server.on('upgrade', (_request, socket: Duplex) => {
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n');
      socket.on('data', (chunk: Buffer) => void socket.write(chunk)).on('error', () => {});
    });
    await chain.write(yaml + echoAt(await open(server)));
    const seen = await seenBy(async (note) => {
      // One more than is upgraded, for the next user to find.
      await Promise.all([use(), use()]);
      await new Promise((done) => setImmediate(done));
      const socket = await upgrade();
      socket.on('data', () => (note(), socket.destroy())).on('close', note);
      socket.write('hello');
      await once(socket, 'close');
    });
    for (const line of seen) expect(line).toMatch(/^(\w+) as (?:\1|nobody)$/);
    server.close();
  });
});
