import { get, type Agent, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { upgrade as undiciUpgrade, type Dispatcher } from 'undici';
import type { GrpcRoute } from '../custom/grpc-package.js';
import { defaultMeshSettings } from '../config/mesh-config.js';
import type { Registry, ServiceEntry } from '../config/registry.js';
import type { MeshIdentity } from '../identity/source.js';
import type { X509Svid } from '../identity/svid.js';
import type { TrustBundleSet } from '../identity/trust-bundle.js';
import { createTestAuthority, type TestAuthority } from '../testing/authority.js';
import { acceptSettings } from '../tls/accept-settings.js';
import { createTlsServer } from '../tls/server.js';
import { noticeEvents, type NoticeEvent } from '../telemetry/events.js';
import { createMeshAgent, type ClosableAgent } from './agent.js';
import { createMeshDispatcher } from './dispatcher.js';
import { MeshChannel } from './grpc-channel.js';
import { createGrpcRoute } from './grpc-route.js';
import { createMeshFetch, createMeshRequest } from './fetch.js';
import { heard, until } from '../../../../test/support/waiting.js';

const url = 'http://product.shop.svc.cluster.local';
const minute = 60_000;
const ends: (() => unknown)[] = [];
let authority: TestAuthority;
let now: number;

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'setTimeout', 'clearTimeout'] });
  authority = await createTestAuthority();
  now = Date.now();
});
afterEach(async () => {
  vi.useRealTimers();
  for (const end of ends.splice(0).reverse()) await end();
});
afterAll(() => expect(ends).toEqual([]));

interface Replaceable<T> {
  current(): T;
  watch(listener: (value: T) => void): () => void;
  set(value: T): void;
}

function replaceable<T>(value: T): Replaceable<T> {
  const listeners = new Set<(value: T) => void>();
  return {
    current: () => value,
    watch(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    set(next) {
      value = next;
      for (const listener of listeners) listener(next);
    },
  };
}

interface World {
  readonly port: number;
  readonly dispatcher: Dispatcher;
  readonly agent: Agent;
  /** For gRPC. */
  readonly route: () => GrpcRoute;
  /** How many connections the server has had, and how many have ended. */
  readonly count: { opened: number; closed: number };
  readonly serverSvid: Replaceable<X509Svid>;
  readonly ownSvid: Replaceable<X509Svid>;
  readonly bundles: Replaceable<TrustBundleSet>;
}

const issueServer = (lifeMs: number): Promise<X509Svid> =>
  authority.issue({ namespace: 'shop', serviceAccount: 'product', notAfter: now + lifeMs });

const issueOwn = (): Promise<X509Svid> =>
  authority.issue({ namespace: 'shop', serviceAccount: 'gateway', notAfter: now + 60 * minute });

/** Clients of a server whose SVID lives for five minutes. */
async function start(listener: RequestListener = (_req, res) => void res.end('answer')): Promise<World> {
  const [serverSvid, ownSvid, bundles] = [
    replaceable(await issueServer(5 * minute)),
    replaceable(await issueOwn()),
    replaceable(authority.bundles),
  ];
  const count = { opened: 0, closed: 0 };
  const server = createTlsServer({
    identity: { svid: serverSvid, bundles: replaceable(authority.bundles) } as MeshIdentity,
    accept: () => acceptSettings({ mode: 'STRICT', mesh: defaultMeshSettings }),
  });
  server.on('secureConnection', (socket) => {
    count.opened++;
    socket.once('close', () => count.closed++);
  });
  server.on('request', listener);
  server.on('upgrade', (_request: IncomingMessage, socket: Duplex) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n');
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => socket.write(chunk));
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  const entry: ServiceEntry = {
    meta: {
      ...{ kind: 'ServiceEntry', namespace: 'shop', name: 'product', creationTimestamp: 0, labels: {}, annotations: {} },
      source: { file: 'services.yaml', line: 1, column: 1 },
    },
    spec: {
      ...{ hosts: ['product.shop.svc.cluster.local'], location: 'MESH_INTERNAL', resolution: 'STATIC' },
      endpoints: [{ address: '127.0.0.1', ports: { http: port }, serviceAccount: 'product' }],
      ports: [{ number: 80, name: 'http', protocol: 'HTTP' }],
    },
  };
  const registry: Registry = {
    services: [],
    serviceEntries: [entry],
    workloadEntries: [],
    destinationRules: [],
    peerAuthentications: [],
  };
  const snapshot = {
    registry,
    mesh: defaultMeshSettings,
    workload: { namespace: 'shop', serviceAccount: 'gateway', labels: {} },
  };
  const options = { identity: { svid: ownSvid, bundles } as MeshIdentity, snapshot: () => snapshot, clock: () => now };
  const dispatcher = createMeshDispatcher(options);
  const agent = createMeshAgent(options);
  ends.push(
    () => new Promise((done) => server.close(done)),
    () => server.closeAllConnections(),
    () => agent.destroy(),
    () => dispatcher.destroy(),
  );
  const route = createGrpcRoute(options, { host: 'product.shop', port: 80, declaredOnly: true });
  return { port, dispatcher, agent, route, count, serverSvid, ownSvid, bundles };
}

function open(agent: Agent): Promise<IncomingMessage> {
  return new Promise((done, fail) => void get(url, { agent }, done).on('error', fail));
}

async function textOf(stream: AsyncIterable<Uint8Array>): Promise<string> {
  let text = '';
  for await (const part of stream) text += Buffer.from(part).toString();
  // undici takes a connection for free a turn after its answer has ended.
  await new Promise(setImmediate);
  return text;
}

const clients: Readonly<Record<string, (world: World) => () => Promise<AsyncIterable<Uint8Array>>>> = {
  'a request of the dispatcher': (world) => async () => (await createMeshRequest(world.dispatcher)(url)).body,
  'a fetch of the dispatcher': (world) => async () =>
    (await createMeshFetch(world.dispatcher)(url)).body as unknown as AsyncIterable<Uint8Array>,
  'a request of the agent': (world) => () => open(world.agent),
};

describe.each(Object.entries(clients))('%s, when the certificate of the server ends', (_name, clientOf) => {
  it('takes a new connection and shows the old one to nobody', async () => {
    const world = await start();
    const call = clientOf(world);
    expect(await textOf(await call())).toBe('answer');
    now += 5 * minute - 2_000;
    expect(await textOf(await call())).toBe('answer');
    expect(world.count.opened).toBe(1);
    world.serverSvid.set(await issueServer(10 * minute));
    now += 3_000;
    expect(await textOf(await call())).toBe('answer');
    expect(world.count.opened).toBe(2);
    await until(() => world.count.closed === 1);
  });

  it('is refused where the server has no other', async () => {
    const world = await start();
    const call = clientOf(world);
    expect(await textOf(await call())).toBe('answer');
    now += 6 * minute;
    const error = (await call().catch((reason: unknown) => reason)) as Error & { code?: string };
    expect(((error.cause ?? error) as { code?: string }).code).toBe('ENMESH_X509_OUT_OF_VALIDITY');
  });

  it('leaves no idle connection behind for more than 10 s', async () => {
    const world = await start();
    await textOf(await clientOf(world)());
    vi.advanceTimersByTime(10_000);
    now += 6 * minute;
    vi.advanceTimersByTime(10_000);
    await until(() => world.count.closed === 1);
  });

  it('has 15 s to finish what is in flight', async () => {
    const answers: ServerResponse[] = [];
    const world = await start((_req, res) => {
      res.write('begun ');
      answers.push(res);
    });
    const call = clientOf(world);
    const [finishing, hanging] = [await call(), await call()];
    now += 6 * minute;
    vi.advanceTimersByTime(5_000);
    vi.advanceTimersByTime(14_000);
    answers[0]?.end('ended');
    expect(await textOf(finishing)).toBe('begun ended');
    vi.advanceTimersByTime(1_000);
    await expect(textOf(hanging)).rejects.toThrow();
    await until(() => world.count.closed === 2);
  });

  it('goes on over a rotation of our own, until the certificate of the server ends', async () => {
    const answers: ServerResponse[] = [];
    const world = await start((_req, res) => {
      res.write('begun ');
      answers.push(res);
    });
    const call = clientOf(world);
    const [finishing, hanging] = [await call(), await call()];
    world.ownSvid.set(await issueOwn());
    vi.advanceTimersByTime(60_000);
    answers[0]?.end('ended');
    expect(await textOf(finishing)).toBe('begun ended');
    now += 6 * minute;
    vi.advanceTimersByTime(20_000);
    await expect(textOf(hanging)).rejects.toThrow();
  });

  it('ends 15 s after the root of the server has left the bundle, not when another joins it', async () => {
    const world = await start((_req, res) => void res.write('begun '));
    const stream = await clientOf(world)();
    const other = await createTestAuthority();
    const withRoots = (...roots: string[]): TrustBundleSet =>
      new Map([...authority.bundles].map(([trustDomain, bundle]) => [trustDomain, { ...bundle, roots }]));
    world.bundles.set(withRoots(authority.rootPem, other.rootPem));
    vi.advanceTimersByTime(60_000);
    await new Promise(setImmediate);
    expect(world.count.closed).toBe(0);
    world.bundles.set(withRoots(other.rootPem));
    vi.advanceTimersByTime(15_000);
    await expect(textOf(stream)).rejects.toThrow();
  });
});

const upgrades: Readonly<Record<string, (world: World) => Promise<Duplex>>> = {
  'an upgrade of the dispatcher': async ({ dispatcher }) => (await undiciUpgrade(url, { dispatcher, protocol: 'chat' })).socket,
  'an upgrade of the agent': ({ agent }) =>
    new Promise((done, fail) => {
      const request = get(url, { agent, headers: { connection: 'upgrade', upgrade: 'chat' } });
      request.on('upgrade', (_response, socket) => done(socket)).on('error', fail);
    }),
};

describe.each(Object.entries(upgrades))('%s', (_name, upgrade) => {
  /** An upgraded connection that sends back what it gets, with how it ended. */
  async function openUpgraded() {
    const world = await start();
    const socket = await upgrade(world);
    const ended = { code: undefined as unknown, isClosed: false };
    socket.on('error', (error: { code?: unknown }) => (ended.code = error.code)).on('close', () => (ended.isClosed = true));
    ends.push(() => socket.destroy());
    const echo = async (text: string): Promise<string> => {
      const answer = heard(socket, 'data');
      socket.write(text);
      return String(((await answer) as [Buffer])[0]);
    };
    return { world, socket, ended, echo };
  }
  let notices: NoticeEvent[];
  beforeEach(() => {
    notices = [];
    ends.push(noticeEvents.subscribe((notice) => void notices.push(notice)));
  });
  const told = () => notices.filter(({ kind }) => kind === 'stream-ended').map(({ code, details }) => [code, details?.['peer']]);
  const product = 'spiffe://cluster.local/ns/shop/sa/product';

  it('outlives a rotation of our own, and has 15 s when the certificate of its server has ended', async () => {
    const { world, ended, echo } = await openUpgraded();
    world.ownSvid.set(await issueOwn());
    vi.advanceTimersByTime(60_000);
    expect(await echo('still here')).toBe('still here');
    now += 6 * minute;
    vi.advanceTimersByTime(5_000);
    expect(await echo('for a while')).toBe('for a while');
    vi.advanceTimersByTime(14_000);
    expect([ended.isClosed, told()]).toEqual([false, []]);
    vi.advanceTimersByTime(1_000);
    await until(() => ended.isClosed);
    expect([ended.code, told()]).toEqual(['ENMESH_OUTBOUND_DISTRUSTED', [['ENMESH_OUTBOUND_DISTRUSTED', product]]]);
    await until(() => world.count.closed === 1);
  });

  it('has 15 s when the root of its server has left the bundle, and none fewer when another joins it', async () => {
    const { world, ended, echo } = await openUpgraded();
    const other = await createTestAuthority();
    const withRoots = (...roots: string[]): TrustBundleSet =>
      new Map([...authority.bundles].map(([trustDomain, bundle]) => [trustDomain, { ...bundle, roots }]));
    world.bundles.set(withRoots(authority.rootPem, other.rootPem));
    vi.advanceTimersByTime(60_000);
    expect(await echo('still here')).toBe('still here');
    world.bundles.set(withRoots(other.rootPem));
    vi.advanceTimersByTime(14_999);
    expect(ended.isClosed).toBe(false);
    vi.advanceTimersByTime(1);
    await until(() => ended.isClosed);
    expect(ended.code).toBe('ENMESH_OUTBOUND_DISTRUSTED');
  });

  it('ends the process by no error that nobody listens for', async () => {
    const world = await start();
    const socket = await upgrade(world);
    let isClosed = false;
    socket.on('close', () => (isClosed = true));
    now += 6 * minute;
    vi.advanceTimersByTime(5_000);
    vi.advanceTimersByTime(15_000);
    await until(() => isClosed);
    expect(told()).toHaveLength(1);
  });

  it('ends with its client', async () => {
    const { world, ended } = await openUpgraded();
    world.agent.destroy();
    await world.dispatcher.destroy();
    await until(() => ended.isClosed);
    expect(told()).toEqual([]);
  });

  it('is waited for by a client that closes in peace', async () => {
    const { world, socket, ended } = await openUpgraded();
    let isOver = false;
    const closed = Promise.all([(world.agent as ClosableAgent).close(), world.dispatcher.close()]).then(() => (isOver = true));
    await new Promise(setImmediate);
    expect([isOver, ended.isClosed]).toEqual([false, false]);
    socket.end();
    socket.destroy();
    await closed;
  });
});

describe('the route of gRPC', () => {
  it("is another one from the end of the server's certificate on, and the old one is distrusted", async () => {
    const { port, route, ownSvid } = await start();
    const first = route();
    const socket = connect(port, '127.0.0.1');
    await new Promise((done) => socket.once('connect', done));
    const secured = await first.secure(socket);
    ends.push(() => secured.destroy());
    now += 4 * minute;
    expect([route() === first, first.isDistrusted?.()]).toEqual([true, false]);
    ownSvid.set(await issueOwn());
    expect([route() === first, first.isDistrusted?.()]).toEqual([false, false]);
    now += minute + 1_000;
    expect(first.isDistrusted?.()).toBe(true);
  });

  it('is made anew where only the certificate of the server has ended', async () => {
    const { port, route } = await start();
    const first = route();
    const socket = connect(port, '127.0.0.1');
    await new Promise((done) => socket.once('connect', done));
    const secured = await first.secure(socket);
    ends.push(() => secured.destroy());
    expect(route()).toBe(first);
    now += 6 * minute;
    const second = route();
    expect([second === first, first.isDistrusted?.(), second.isDistrusted?.()]).toEqual([false, true, false]);
    expect(route()).toBe(second);
  });
});

describe('a channel of gRPC', () => {
  it('cancels what is in flight 15 s after its server is distrusted, and only that', () => {
    const cancelled: string[] = [];
    class Channel {
      createCall(name: string): object {
        return {
          start() {},
          cancelWithStatus: (_status: number, details: string) => void cancelled.push(`${name} ${details.split(':')[0]}`),
        };
      }
      close(): void {}
    }
    const grpc = { Channel, ChannelCredentials: Object, Metadata: Object };
    let isDistrusted = false;
    const routeWith = (answer: () => boolean): GrpcRoute => ({
      targets: [{ address: '127.0.0.1', port: 1 }],
      secure: (socket) => Promise.resolve(socket),
      isDistrusted: answer,
    });
    let current = routeWith(() => isDistrusted);
    const channel = new MeshChannel({ grpc: grpc as never, authority: 'stock:1', route: () => current, given: {} });
    const begin = (name: string): void =>
      (channel.createCall(name) as { start(metadata: object, listener: object): void }).start({}, {});
    begin('old');
    current = routeWith(() => false);
    begin('new');
    channel.refresh();
    vi.advanceTimersByTime(60_000);
    expect(cancelled).toEqual([]);
    isDistrusted = true;
    channel.refresh();
    vi.advanceTimersByTime(14_000);
    channel.refresh();
    expect(cancelled).toEqual([]);
    vi.advanceTimersByTime(1_000);
    expect(cancelled).toEqual(['old ENMESH_OUTBOUND_DISTRUSTED']);
  });
});
