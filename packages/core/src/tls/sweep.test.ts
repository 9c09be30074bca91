import type { IncomingMessage, ServerResponse } from 'node:http';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { callTls, clientCertificate, readToEnd, startLab, type Lab } from '../../../../test/support/tls-lab.js';
import { EnmeshError } from '../errors.js';
import type { MeshIdentity } from '../identity/source.js';
import type { X509Svid } from '../identity/svid.js';
import type { TrustBundleSet } from '../identity/trust-bundle.js';
import { noticeEvents, type NoticeEvent } from '../telemetry/events.js';
import { createTestAuthority, type TestAuthority } from '../testing/authority.js';
import { connectionsOf } from './connections.js';
import { connectionOf } from './peer.js';
import { keptPeers } from './peer-records.js';
import type { TlsServerOptions } from './server.js';
import { closed, heard, until } from '../../../../test/support/waiting.js';

const hour = 3_600_000;
let authority: TestAuthority;
let next: TestAuthority;
let foreign: TestAuthority;
let gateway: MeshIdentity;
let lab: Lab;
let notices: NoticeEvent[];
const stops: (() => void)[] = [];
const clients: Socket[] = [];

beforeAll(async () => {
  authority = await createTestAuthority();
  next = await createTestAuthority();
  foreign = await createTestAuthority({ trustDomain: 'foreign.example' });
  gateway = await authority.identity({ namespace: 'shop', serviceAccount: 'gateway' });
});

beforeEach(() => {
  notices = [];
  stops.push(noticeEvents.subscribe((notice) => notices.push(notice)));
});

afterEach(async () => {
  for (const stop of stops.splice(0)) stop();
  for (const client of clients.splice(0)) client.destroy();
  await lab.close();
});

/** An identity, a clock and settings that a test changes; `tell` is what the sources and the configuration would say. */
interface World {
  svid: X509Svid | undefined;
  bundles: TrustBundleSet;
  now: () => number;
  tellBundles: () => void;
  tellAccept: () => void;
}

async function startWorld(server: Partial<TlsServerOptions> = {}, settings: Partial<Lab['settings']> = {}): Promise<World> {
  const world: World = {
    svid: await authority.issue({ namespace: 'shop', serviceAccount: 'stock', notAfter: Date.now() + 10 * hour }),
    bundles: authority.bundles,
    now: Date.now,
    tellBundles: () => {},
    tellAccept: () => {},
  };
  const current = (): X509Svid => {
    if (world.svid === undefined) throw new EnmeshError('ENMESH_IDENTITY_NONE', 'none');
    return world.svid;
  };
  const identity: MeshIdentity = {
    svid: { current, watch: () => () => {} },
    bundles: {
      current: () => world.bundles,
      watch(onChange) {
        world.tellBundles = () => onChange(world.bundles);
        return () => (world.tellBundles = () => {});
      },
    },
  };
  lab = await startLab(identity, {
    settings,
    server: {
      clock: () => world.now(),
      watchAccept(onChange) {
        world.tellAccept = onChange;
        return () => (world.tellAccept = () => {});
      },
      ...server,
    },
  });
  return world;
}

async function openTls(identity: MeshIdentity = gateway, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const before = connectionsOf(lab.server).size;
  const alpn = ['istio', 'http/1.1'];
  const socket = connectTls({
    ...{ port: lab.port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: alpn },
    ...clientCertificate(identity),
    ...options,
  });
  clients.push(socket.on('error', () => {}));
  await heard(socket, 'secureConnect');
  await until(() => connectionsOf(lab.server).size > before);
  return socket;
}

async function openPlain(): Promise<Socket> {
  const socket = connectTcp(lab.port, '127.0.0.1');
  clients.push(socket.on('error', () => {}));
  expect(await ask(socket)).toContain('200 OK');
  return socket;
}

function ask(socket: Socket): Promise<string> {
  const answer = new Promise<string>((done) => {
    socket.once('data', (chunk: Buffer) => done(chunk.toString('latin1')));
    socket.once('close', () => done('closed'));
  });
  socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  return answer;
}

/** Resolves when a sweep that begins now has looked at everything: it takes one turn of the loop here. */
const swept = async (): Promise<void> => {
  for (let turn = 0; turn < 3; turn++) await new Promise((done) => setImmediate(done));
};

const endings = (): unknown[] => notices.filter(({ kind }) => kind === 'connections-ended').map(({ code }) => code);

describe('an open connection', () => {
  it('ends at once when it is plaintext and its port becomes STRICT; mutual TLS goes on', async () => {
    const world = await startWorld({}, { mode: 'PERMISSIVE' });
    const plain = await openPlain();
    const mutual = await openTls();
    lab.settings = { ...lab.settings, mode: 'STRICT' };
    world.tellAccept();
    await closed(plain);
    expect(await ask(mutual)).toContain('200 OK');
    expect(endings()).toEqual(['ENMESH_TLS_PLAINTEXT_REFUSED']);
  });

  it('ends at once when it is mutual TLS and its port becomes DISABLE; plaintext goes on', async () => {
    const world = await startWorld({}, { mode: 'PERMISSIVE' });
    const plain = await openPlain();
    const mutual = await openTls();
    lab.settings = { ...lab.settings, mode: 'DISABLE' };
    world.tellAccept();
    await closed(mutual);
    expect(await ask(plain)).toContain('200 OK');
    expect(endings()).toEqual(['ENMESH_TLS_CONNECTION_OUTDATED']);
  });

  it.each([
    ['STRICT', 'PERMISSIVE'],
    ['PERMISSIVE', 'STRICT'],
  ] as const)('of a verified peer outlives the change from %s to %s, whatever ALPN it has', async (from, to) => {
    const world = await startWorld({}, { mode: from, permissiveAnyAlpn: true });
    const sockets = [await openTls(), await openTls(gateway, { ALPNProtocols: ['http/1.1'] })];
    lab.settings = { ...lab.settings, mode: to, permissiveAnyAlpn: false };
    world.tellAccept();
    await swept();
    for (const socket of sockets) expect(await ask(socket)).toContain('200 OK');
    expect(endings()).toEqual([]);
  });

  it('ends when its trust domain is admitted no longer; the own domain goes on', async () => {
    const world = await startWorld({}, { trustDomains: ['cluster.local', 'foreign.example'] });
    world.bundles = new Map([...authority.bundles, ...foreign.bundles]);
    const stranger = await openTls(await foreign.identity({ namespace: 'shop', serviceAccount: 'gateway' }));
    const own = await openTls();
    lab.settings = { ...lab.settings, trustDomains: ['cluster.local'] };
    world.tellAccept();
    await closed(stranger);
    expect(await ask(own)).toContain('200 OK');
    expect(endings()).toEqual(['ENMESH_TLS_TRUST_DOMAIN_REFUSED']);
  });

  it('outlives a bundle that grows, and ends when its root leaves', async () => {
    const world = await startWorld();
    const old = await openTls();
    const roots = [authority.rootPem, next.rootPem];
    world.bundles = new Map([['cluster.local', { trustDomain: 'cluster.local', roots }]]);
    world.tellBundles();
    await swept();
    expect(await ask(old)).toContain('200 OK');
    const renewed = await openTls(await next.identity({ namespace: 'shop', serviceAccount: 'gateway' }));
    world.bundles = next.bundles;
    world.tellBundles();
    await closed(old);
    expect(await ask(renewed)).toContain('200 OK');
    expect(notices.find(({ kind }) => kind === 'connections-ended')).toMatchObject({
      code: 'ENMESH_X509_UNTRUSTED',
      details: { count: 1, peers: ['spiffe://cluster.local/ns/shop/sa/gateway'] },
    });
  });

  it('ends with its certificate, and all of them with our own', async () => {
    const world = await startWorld({ sweepMs: 5 });
    const short = await openTls(
      await authority.identity({ namespace: 'shop', serviceAccount: 'gateway', notAfter: Date.now() + hour }),
    );
    const long = await openTls(
      await authority.identity({ namespace: 'shop', serviceAccount: 'gateway', notAfter: Date.now() + 20 * hour }),
    );
    world.now = () => Date.now() + 2 * hour;
    await closed(short);
    expect(await ask(long)).toContain('200 OK');
    world.now = () => Date.now() + 11 * hour;
    await closed(long);
    expect(endings()).toEqual(['ENMESH_X509_OUT_OF_VALIDITY', 'ENMESH_IDENTITY_NONE']);
  });

  it('ends when the source of our own SVID has none left, and plaintext goes on', async () => {
    const world = await startWorld({ sweepMs: 5 }, { mode: 'PERMISSIVE' });
    const plain = await openPlain();
    const mutual = await openTls();
    world.svid = undefined;
    await closed(mutual);
    expect(await ask(plain)).toContain('200 OK');
  });

  it.each([
    ['the least version rises', { minVersion: 'TLSv1.3' }],
    ['its cipher suite leaves the list', { ciphers: ['ECDHE-ECDSA-AES128-GCM-SHA256'] }],
  ] as const)('of TLS 1.2 ends when %s; TLS 1.3 goes on', async (_title, change) => {
    const world = await startWorld();
    const older = await openTls(gateway, { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES256-GCM-SHA384' });
    const newer = await openTls(gateway, { minVersion: 'TLSv1.3' });
    lab.settings = { ...lab.settings, ...change };
    world.tellAccept();
    await closed(older);
    expect(await ask(newer)).toContain('200 OK');
    expect(endings()).toEqual(['ENMESH_TLS_CONNECTION_OUTDATED']);
  });

  it.each(['NaN', 'a throw'])('ends when the clock gives %s', async (fault) => {
    const world = await startWorld({ sweepMs: 5 });
    const socket = await openTls();
    world.now = () => {
      if (fault === 'NaN') return NaN;
      throw new Error('no time');
    };
    await closed(socket);
    world.now = Date.now;
  });
});

describe('what is in flight on a connection that is to end', () => {
  const hold = (): ServerResponse[] => {
    const held: ServerResponse[] = [];
    lab.server.removeAllListeners('request');
    lab.server.on('request', (_request: IncomingMessage, response: ServerResponse) => held.push(response));
    return held;
  };

  it.each([
    ['finishes with Connection: close before its head', false],
    ['finishes when its head has gone out, and the connection after it', true],
  ])('%s', async (_title, begun) => {
    const world = await startWorld({ graceMs: 60_000 });
    const held = hold();
    const socket = await openTls();
    const outcome = readToEnd(socket);
    socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    await until(() => held.length === 1);
    if (begun) held[0]?.write('first, ');
    world.bundles = next.bundles;
    world.tellBundles();
    await until(() => endings().length === 1);
    held[0]?.end('last');
    const { text } = await outcome;
    expect(text).toContain('last');
    expect(/Connection: close/.test(text)).toBe(!begun);
  });

  it('is cut at the end of its grace', async () => {
    const world = await startWorld({ graceMs: 30 });
    const held = hold();
    const socket = await openTls();
    socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    await until(() => held.length === 1);
    world.bundles = next.bundles;
    world.tellBundles();
    await closed(socket);
    expect(held[0]?.writableFinished).toBe(false);
  });
});

describe('the standing of a connection', () => {
  it('changes with the bundles before any sweep, and a new handshake changes nothing of what was refused', async () => {
    const world = await startWorld();
    let stand: () => string | undefined = () => '';
    lab.server.prependOnceListener('request', ({ socket }: IncomingMessage) => {
      const { standing } = connectionOf(socket);
      stand = () => standing?.objection()?.code;
    });
    const socket = await openTls();
    await ask(socket);
    expect(stand()).toBeUndefined();
    world.bundles = next.bundles;
    world.tellBundles();
    expect(stand()).toBe('ENMESH_X509_UNTRUSTED');
    expect((await callTls(lab.port, { identity: gateway })).text).toBe('');
    expect(stand()).toBe('ENMESH_X509_UNTRUSTED');
    world.bundles = authority.bundles;
    world.tellBundles();
    expect(stand()).toBeUndefined();
  });

  it('shares what it remembers of a peer among its connections, and forgets it with the last', async () => {
    await startWorld();
    const before = keptPeers();
    const sockets = await Promise.all([openTls(), openTls(), openTls()]);
    expect(keptPeers()).toBe(before + 1);
    const facts = [...connectionsOf(lab.server)].map((socket) => connectionOf(socket).peer);
    expect(new Set(facts).size).toBe(1);
    for (const socket of sockets) socket.destroy();
    await until(() => connectionsOf(lab.server).size === 0);
    expect(keptPeers()).toBe(before);
  });
});

describe('a sweep', () => {
  it('needs nobody to tell it: a source that only holds other bundles is asked by the timer', async () => {
    const world = await startWorld({ sweepMs: 5 });
    const socket = await openTls();
    world.bundles = next.bundles;
    await closed(socket);
  });

  it('ends its timer and watches when the server has closed', async () => {
    const world = await startWorld({ sweepMs: 5 });
    await openTls();
    const told = world.tellAccept;
    await lab.close();
    expect(world.tellAccept).not.toBe(told);
  });

  it('goes on to the other connections when looking into one throws', async () => {
    const visited: unknown[] = [];
    const world = await startWorld({
      visit(socket) {
        visited.push(socket);
        throw new Error('broken');
      },
    });
    await openTls();
    await openTls();
    world.tellAccept();
    await until(() => visited.length === 2);
    expect(endings()).toEqual([]);
  });
});
