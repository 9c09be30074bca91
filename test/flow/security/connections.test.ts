import { once } from 'node:events';
import { createServer as createHttpsServer } from 'node:https';
import { connect as connectTcp, createServer as createTcpServer, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { deniedEvents, type MeshIdentity, type X509Svid } from '@enmesh/core';
import { badCertificates, createTestAuthority } from '../../../packages/core/src/testing/authority.js';
import { openWitness, statusesIn, transcribe, type Transcript, type Witness } from '../../support/attack.js';
import { connect, createHouse, open, send, sendRaw, type House } from '../../support/house.js';

// Modes, ALPN lists, TLS versions and ciphers of the server alone: packages/core/src/tls/server.test.ts; deadlines and dripping bytes: pending.test.ts;
// chains, bundles and hostile certificates: packages/core/src/x509, test/conformance/x509-*.test.ts.
const peers = (mode: string): string => `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: ${mode}}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: callers, namespace: shop}
spec: {rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/gateway]}}]}]}
`;

const modes = ['STRICT', 'PERMISSIVE'] as const;
const houses: Partial<Record<string, House>> = {};
const witnesses: Partial<Record<string, Witness>> = {};
let transcript: Transcript;
const house = (mode: string): House => houses[mode] as House;
const witness = (mode: string): Witness => witnesses[mode] as Witness;
const reachedAnywhere = (): number => modes.reduce((sum, mode) => sum + witness(mode).reached.length, 0);

beforeAll(async () => {
  transcript = transcribe();
  for (const mode of modes) {
    houses[mode] = await createHouse(peers(mode));
    witnesses[mode] = await openWitness(house(mode).mesh);
  }
});
afterAll(async () => {
  for (const mode of modes) await house(mode).close();
  transcript.stop();
});

const get = 'GET / HTTP/1.1\r\nHost: product\r\nConnection: close\r\n\r\n';
const istio = ['istio-http/1.1', 'istio', 'http/1.1'];

describe.each(modes)('rule 1: where TLS is ended a certificate of the mesh is asked for and verified, in %s', (mode) => {
  it.each(badCertificates)('a certificate of kind %s gives no bytes and no request', async (kind) => {
    const before = reachedAnywhere();
    const bad = await house(mode).authority.issueBad(kind);
    const as = { ...bad } as unknown as X509Svid;
    const answer = await sendRaw({ port: witness(mode).port, as, roots: [house(mode).authority.rootPem] }, get);
    expect(answer.bytes).toBe('');
    expect(reachedAnywhere()).toBe(before);
  });

  it('a certificate of a mesh with the same names and another root gives none either', async () => {
    const other = await createTestAuthority();
    const as = await other.issue({ namespace: 'shop', serviceAccount: 'gateway' });
    const answer = await sendRaw({ port: witness(mode).port, as, roots: [house(mode).authority.rootPem] }, get);
    expect(answer.bytes).toBe('');
  });

  it('no certificate at all is not an anonymous request', async () => {
    const before = reachedAnywhere();
    const socket = connectTls({ port: witness(mode).port, host: '127.0.0.1', ALPNProtocols: istio, rejectUnauthorized: false });
    expect(await bytesOf(socket, get)).toBe('');
    expect(reachedAnywhere()).toBe(before);
  });

  it.each(['TLSv1.2', 'TLSv1.3'] as const)('a session of the gateway makes no gateway of another, over %s', async (version) => {
    const { authority } = house(mode);
    const options = {
      port: witness(mode).port,
      host: '127.0.0.1',
      ca: authority.rootPem,
      ALPNProtocols: istio,
      minVersion: version,
      maxVersion: version,
      checkServerIdentity: () => undefined,
    };
    const clientOf = async (serviceAccount: string): Promise<{ key: string; cert: string }> => {
      const { chain, privateKey } = await house(mode).svid(serviceAccount);
      return { cert: chain, key: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string };
    };
    const first = connectTls({ ...options, ...(await clientOf('gateway')) });
    const sessions: Buffer[] = [];
    first.on('session', (session: Buffer) => sessions.push(session));
    expect(statusesIn(await bytesOf(first, get))).toEqual([200]);
    const session = sessions.at(-1) ?? first.getSession();

    for (const [account, status] of [
      ['stranger', 403],
      ['gateway', 200],
    ] as const) {
      const second = connectTls({ ...options, ...(await clientOf(account)), ...(session && { session }) });
      const shaken = once(second, 'secureConnect').then(() => second.isSessionReused());
      expect(statusesIn(await bytesOf(second, get))).toEqual([status]);
      expect(await shaken).toBe(false);
    }
  });
});

describe('rule 1: our own connections resume no session either', () => {
  it.each(['TLSv1.2', 'TLSv1.3'] as const)('even from a server that gives tickets, over %s', async (version) => {
    const authority = house('STRICT').authority;
    const { chain, privateKey } = await authority.issue({ namespace: 'shop', serviceAccount: 'stock' });
    const key = privateKey.export({ type: 'pkcs8', format: 'pem' });
    const reused: boolean[] = [];
    const server = createHttpsServer(
      {
        key,
        cert: chain,
        ca: authority.rootPem,
        requestCert: true,
        ALPNProtocols: ['http/1.1'],
        minVersion: version,
        maxVersion: version,
      },
      (request, response) => {
        reused.push((request.socket as TLSSocket).isSessionReused());
        response.setHeader('connection', 'close').end('ok');
      },
    );
    server.on('newSession', (_id, _data, done: () => void) => done());
    const port = await open(server);
    await house('STRICT').write('services.yaml', serviceEntry(port, 'stock'));
    for (let i = 0; i < 4; i++) {
      const { body } = await house('STRICT').mesh.request('http://stock.shop.svc.cluster.local/');
      expect(await body.text()).toBe('ok');
    }
    expect(reused).toEqual([false, false, false, false]);
    server.close();
  });
});

describe('rule 2: an identity is one URI that the authority signed', () => {
  it.each([
    'spiffe://cluster.local/ns/shop/sa/gateway/',
    'spiffe://cluster.local/ns/shop//sa/gateway',
    'spiffe://cluster.local/ns/shop/sa/gateway?x',
    'spiffe://cluster.local/ns/shop/sa/gateway#x',
    'spiffe://cluster.local/ns/shop/../shop/sa/gateway',
    'spiffe://cluster.local/ns/shop/sa/%67ateway',
    'spiffe://cluster.local:443/ns/shop/sa/gateway',
    'spiffe://user@cluster.local/ns/shop/sa/gateway',
    'spiffe://CLUSTER.local/ns/shop/sa/gateway',
    'SPIFFE://cluster.local/ns/shop/sa/gateway',
    'https://cluster.local/ns/shop/sa/gateway',
    'spiffe://other.example/ns/shop/sa/gateway',
  ])('%j is nobody', async (uri) => {
    const before = reachedAnywhere();
    const as = (await house('STRICT').authority.issueUri(uri)) as unknown as X509Svid;
    const answer = await sendRaw({ port: witness('STRICT').port, as, roots: [house('STRICT').authority.rootPem] }, get);
    expect(answer.bytes).toBe('');
    expect(reachedAnywhere()).toBe(before);
  });

  it.each([
    'spiffe://cluster.local/ns/shop/sa/gateway2',
    'spiffe://cluster.local/ns/shop/sa/gatewa',
    'spiffe://cluster.local/ns/shop/sa/Gateway',
    'spiffe://cluster.local/ns/shop2/sa/gateway',
    'spiffe://cluster.local/x/ns/shop/sa/gateway',
    'spiffe://cluster.local/ns/shop/sa/gateway/x',
    'spiffe://cluster.local/gateway',
  ])('%j is somebody else, and no gateway', async (uri) => {
    const as = (await house('STRICT').authority.issueUri(uri)) as unknown as X509Svid;
    expect(
      (await send({ port: witness('STRICT').port, as, roots: [house('STRICT').authority.rootPem] }, 'GET', '/')).status,
    ).toBe(403);
  });

  it('a certificate that ends while its connection is open is nobody from then on', async () => {
    let now = Date.now();
    const one = await createHouse(peers('STRICT'), { clock: () => now });
    const { port, reached } = await openWitness(one.mesh);
    const as = await one.authority.issue({ namespace: 'shop', serviceAccount: 'gateway', notAfter: now + 60_000 });
    const socket = connect({ port, as, roots: [one.authority.rootPem] });
    socket.on('error', () => {});
    socket.write('GET /1 HTTP/1.1\r\nHost: a\r\n\r\n');
    await once(socket, 'data');
    now += 61_000;
    socket.write('GET /2 HTTP/1.1\r\nHost: a\r\n\r\n');
    await once(socket, 'close');
    expect(reached.map(({ url }) => url)).toEqual(['/1']);
    await one.close();
  });
});

describe('rule 12: slow and strange clients', () => {
  afterEach(() => vi.useRealTimers());

  it.each([
    ['nothing', '', 'STRICT', 5_000],
    ['nothing', '', 'PERMISSIVE', 5_000],
    ['one byte of TLS', '\x16', 'STRICT', 10_000],
    ['one byte of TLS', '\x16', 'PERMISSIVE', 10_000],
    ['half a ClientHello', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc', 'STRICT', 10_000],
  ])('that send %s (%j) to a %s port are cut after %i ms', async (_what, bytes, mode, deadline) => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const { port, server } = witness(mode);
    const accepted = once(server, 'connection');
    const socket = connectTcp(port, '127.0.0.1');
    const closed = bytesOf(socket, bytes);
    await accepted;
    await turns();
    vi.advanceTimersByTime(deadline);
    expect(await closed).toBe('');
  });

  it.each([
    ['HTTP behind the first byte of TLS', `\x16${get}`],
    ['HTTP behind a record header of TLS', `\x16\x03\x01\x00\x05${get}`],
    ['an HTTP/2 preface', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0'],
    ['a PROXY line', `PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n${get}`],
    ['a PROXY v2 header', '\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c'],
    ['an SSLv2 hello', '\x80\x2e\x01\x03\x01\0\x15'],
    ['zeros', '\0'.repeat(64)],
    ['an alert', '\x15\x03\x03\0\x02\x02\x28'],
  ])('that send %s reach no handler and get no 200, in either mode', async (_what, bytes) => {
    const before = reachedAnywhere();
    for (const mode of modes) {
      const received = await bytesOf(connectTcp(witness(mode).port, '127.0.0.1'), bytes, true);
      expect(statusesIn(received)).not.toContain(200);
      if (mode === 'STRICT') expect(received).not.toContain('HTTP');
    }
    expect(reachedAnywhere()).toBe(before);
  });

  it('that break off anywhere in a handshake harm nobody', async () => {
    const hello = await clientHello();
    for (let length = 0; length < hello.length; length += 7) {
      const socket = connectTcp(witness('STRICT').port, '127.0.0.1');
      socket.on('error', () => {});
      socket.write(hello.subarray(0, length), () => socket.resetAndDestroy());
      await once(socket, 'close');
    }
    const as = await house('STRICT').svid('gateway');
    expect(
      (await send({ port: witness('STRICT').port, as, roots: [house('STRICT').authority.rootPem] }, 'GET', '/')).status,
    ).toBe(200);
  });
});

describe('rule 12: headers are counted, and never cut', () => {
  const blocked = peers('PERMISSIVE').replace(
    /spec: \{rules.*/,
    'spec: {action: DENY, rules: [{when: [{key: "request.headers[x-last]", values: ["*"]}]}]}',
  );
  const fillers = (count: number): [string, string][] => Array.from({ length: count }, (_none, i) => [`x-filler-${i}`, '1']);

  it('a DENY on the last header holds up to the limit, and from the limit on there is 431', async () => {
    const one = await createHouse(blocked);
    const { port, reached } = await openWitness(one.mesh);
    const statuses: Record<number, number> = {};
    // Host and Connection stand in each request too.
    for (const lines of [1, 31, 32, 33, 63, 64, 97, 98, 99, 100, 128, 129, 500]) {
      const { status } = await send({ port }, 'GET', '/', [...fillers(lines - 1), ['x-last', 'x']]);
      statuses[lines + 2] = status;
    }
    expect(statuses).toEqual({
      3: 403,
      33: 403,
      34: 403,
      35: 403,
      65: 403,
      66: 403,
      99: 403,
      100: 431,
      101: 431,
      102: 431,
      130: 431,
      131: 431,
      502: 431,
    });
    expect((await send({ port }, 'GET', '/', fillers(97))).status).toBe(200);
    expect(reached).toHaveLength(1);
    await one.close();
  });

  it('more bytes than Node takes end in 431 of its own', async () => {
    const { status } = await send({ port: witness('PERMISSIVE').port }, 'GET', '/', [['x-large', 'x'.repeat(20_000)]]);
    expect(status).toBe(431);
  });
});

describe('rule 13: ALPN', () => {
  it.each(modes)('HTTP/2 is never agreed on in %s', async (mode) => {
    const { chain, privateKey } = await house(mode).svid('gateway');
    const key = privateKey.export({ type: 'pkcs8', format: 'pem' });
    for (const [offered, agreed] of [
      [['h2'], undefined],
      [['istio-h2', 'h2'], undefined],
      [['h2', 'istio', 'http/1.1'], 'http/1.1'],
      [['istio'], 'istio'],
    ] as const) {
      const socket = connectTls({
        port: witness(mode).port,
        host: '127.0.0.1',
        ca: house(mode).authority.rootPem,
        cert: chain,
        key,
        ALPNProtocols: [...offered],
        checkServerIdentity: () => undefined,
      });
      const received = await bytesOf(socket, get);
      expect([offered, statusesIn(received)]).toEqual([offered, agreed === undefined ? [] : [200]]);
    }
  });

  it("PERMISSIVE takes a verified certificate without one of Istio's names only where that was opted into", async () => {
    const wide = await createHouse(peers('PERMISSIVE'), { permissiveAnyAlpn: true });
    const { port } = await openWitness(wide.mesh);
    const call = (target: number, own: House, as: X509Svid) =>
      send({ port: target, as, roots: [own.authority.rootPem], alpn: ['http/1.1'] }, 'GET', '/');
    expect((await call(port, wide, await wide.svid('gateway'))).status).toBe(200);
    const narrow = house('PERMISSIVE');
    expect((await call(witness('PERMISSIVE').port, narrow, await narrow.svid('gateway'))).bytes).toBe('');
    await wide.close();
  });
});

describe('rule 7: whom we call is who answers', () => {
  it('an impostor with a certificate of the same mesh gets no byte, whatever name, redirect or address leads to it', async () => {
    const own = house('STRICT');
    const impostor = await own.authority.identity({ namespace: 'shop', serviceAccount: 'impostor' });
    const got: string[] = [];
    const server = createHttpsServer(
      { ...tlsOf(impostor), ca: own.authority.rootPem, requestCert: true, ALPNProtocols: ['http/1.1'] },
      (request, response) => {
        got.push(request.url ?? '');
        response.end('mine');
      },
    );
    const port = await open(server);
    await own.write('services.yaml', serviceEntry(port, 'stock'));
    const refusals: string[] = [];
    const stop = deniedEvents.subscribe(({ code, reason }) => refusals.push(`${code} ${reason}`));
    for (const url of [
      'http://stock.shop.svc.cluster.local/',
      'http://STOCK.shop.svc.cluster.local./',
      'http://stock.shop/',
      'http://stock/',
    ])
      for (const headers of [{}, { host: 'impostor.shop' }])
        await expect(own.mesh.request(url, { headers }), url).rejects.toMatchObject({ code: 'ENMESH_TLS_SECURE_NAMING' });
    stop();
    expect(got).toEqual([]);
    expect(refusals[0]).toContain('spiffe://cluster.local/ns/shop/sa/stock');
    expect(refusals[0]).toContain('spiffe://cluster.local/ns/shop/sa/impostor');
    server.close();
  });

  it('a service without an identity to expect is not called by mutual TLS', async () => {
    const own = house('STRICT');
    await own.write(
      'services.yaml',
      `${serviceEntry(1, 'stock').replace(', serviceAccount: stock', '')}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: stock, namespace: shop}
spec: {host: stock.shop.svc.cluster.local, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}
`,
    );
    await expect(own.mesh.request('http://stock.shop.svc.cluster.local/')).rejects.toMatchObject({
      code: expect.stringMatching(/^ENMESH_/),
    });
  });
});

describe('rule 8: what connections say', () => {
  it('no event or line of all this holds a key or a certificate', () => {
    const text = transcript.text();
    expect(text).toContain('ENMESH_TLS_CLIENT_UNVERIFIED');
    for (const secret of ['BEGIN', 'PRIVATE', 'MII']) expect(text).not.toContain(secret);
  });
});

function tlsOf({ svid }: MeshIdentity): { key: string; cert: string } {
  const { chain, privateKey } = svid.current();
  return { cert: chain, key: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string };
}

const serviceEntry = (port: number, account: string): string => `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: stock, namespace: shop}
spec:
  hosts: [stock.shop.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: ${port}}]
  endpoints: [{address: 127.0.0.1, serviceAccount: ${account}}]
`;

function bytesOf(socket: Socket, bytes: string, ends = false): Promise<string> {
  let text = '';
  socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
  socket.on('error', () => {});
  if (bytes !== '') socket.write(bytes, 'latin1');
  if (ends) socket.end();
  return new Promise((done) => socket.on('close', () => done(text)));
}

/** Lets what is under way on sockets arrive, without a timer. */
async function turns(): Promise<void> {
  for (let i = 0; i < 50; i++) await new Promise((done) => setImmediate(done));
}

/** The first flight of a TLS client, as bytes. */
async function clientHello(): Promise<Buffer> {
  const server = createTcpServer();
  const port = await open(server);
  const client = connectTls({ port, host: '127.0.0.1', ALPNProtocols: istio, rejectUnauthorized: false });
  client.on('error', () => {});
  const [socket] = (await once(server, 'connection')) as [Socket];
  const [hello] = (await once(socket, 'data')) as [Buffer];
  client.destroy();
  socket.destroy();
  server.close();
  return hello;
}
