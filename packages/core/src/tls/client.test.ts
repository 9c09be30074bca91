import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { createServer as createNetServer, type AddressInfo, type Socket } from 'node:net';
import { createServer, type TLSSocket, type TlsOptions } from 'node:tls';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { callTls, clientCertificate, startLab } from '../../../../test/support/tls-lab.js';
import { errorTable, isEnmeshError, EnmeshError } from '../errors.js';
import { fixedSvidSource } from '../identity/svid.js';
import { fixedTrustBundleSource } from '../identity/trust-bundle.js';
import type { MeshIdentity } from '../identity/source.js';
import { createTestAuthority, type TestAuthority } from '../testing/authority.js';
import { issueCertificate, rootOptions, svidOptions } from '../x509/certificate.js';
import { connectMesh, type MeshConnectOptions } from './client.js';
import { connectionOf } from './peer.js';
import { closed, heard, until } from '../../../../test/support/waiting.js';

const stockUri = 'spiffe://cluster.local/ns/shop/sa/stock';

let authority: TestAuthority;
let stock: MeshIdentity;
let gateway: MeshIdentity;
const open: { close(): unknown }[] = [];

beforeAll(async () => {
  authority = await createTestAuthority();
  stock = await authority.identity({ namespace: 'shop', serviceAccount: 'stock' });
  gateway = await authority.identity({ namespace: 'shop', serviceAccount: 'gateway' });
});

afterEach(() => Promise.all(open.splice(0).map((one) => one.close())));

interface RecordingServer {
  readonly port: number;
  /** Bytes of the application heard. */
  bytes: number;
  /** Connections that are over. */
  closed: number;
  readonly handshakes: { readonly servername: unknown; readonly isReused: boolean }[];
  readonly offered: string[][];
}

/** A TLS server that counts what it hears after the handshake, and shows what it is told to show. */
async function recordingServer(options: TlsOptions): Promise<RecordingServer> {
  const record = { bytes: 0, closed: 0, handshakes: [] as RecordingServer['handshakes'], offered: [] as string[][] };
  const live = new Set<Socket>();
  const server = createServer({
    requestCert: true,
    rejectUnauthorized: true,
    ca: authority.rootPem,
    ALPNCallback: ({ protocols }) => (record.offered.push(protocols), protocols.at(-1)),
    ...options,
  });
  server.on('connection', (socket: Socket) => live.add(socket) && socket.on('close', () => record.closed++));
  server.on('secureConnection', (socket) => {
    record.handshakes.push({ servername: socket.servername, isReused: socket.isSessionReused() });
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => (record.bytes += chunk.length));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  open.push({ close: () => (live.forEach((socket) => socket.destroy()), server.close()) });
  return Object.assign(record, { port: (server.address() as AddressInfo).port });
}

function options(port: number, more: Partial<MeshConnectOptions> = {}): MeshConnectOptions {
  return {
    host: '127.0.0.1',
    port,
    serverName: 'outbound_.80_._.stock.shop.svc.cluster.local',
    service: 'stock.shop',
    expected: [stockUri],
    identity: gateway,
    ...more,
  };
}

function attempt(o: MeshConnectOptions): Promise<{ error: Error | null; socket: TLSSocket | null }> {
  return new Promise((resolve) =>
    connectMesh(o, (error, socket) => {
      socket?.on('error', () => {});
      if (socket !== null) open.push({ close: () => socket.destroy() });
      resolve({ error, socket });
    }),
  );
}

async function refusal(o: MeshConnectOptions): Promise<EnmeshError> {
  const { error, socket } = await attempt(o);
  expect(socket).toBeNull();
  if (!isEnmeshError(error)) throw error ?? new Error('the connection was made');
  expect(errorTable[error.code]).toBeDefined();
  return error;
}

describe('connectMesh', () => {
  it("reaches a server of the mesh with Istio's ALPN, the given SNI and both identities verified", async () => {
    const lab = await startLab(stock, { settings: { mode: 'PERMISSIVE' } });
    open.push(lab);
    const { error, socket } = await attempt(options(lab.port));
    expect(error).toBeNull();
    socket?.write('GET / HTTP/1.1\r\nHost: stock\r\n\r\n');
    const [answer] = await heard<[Buffer]>(socket as TLSSocket, 'data');
    expect(answer.toString()).toContain('served');
    expect(connectionOf(socket as TLSSocket).peer?.uri).toBe(stockUri);
    expect(lab.served).toEqual([
      expect.objectContaining({ sni: 'outbound_.80_._.stock.shop.svc.cluster.local', mode: 'PERMISSIVE' }),
    ]);
    expect(lab.served[0]?.peer?.serviceAccount).toBe('gateway');
  });

  it('offers exactly the ALPN list of an Istio sidecar, or the one given, and no SNI when there is none', async () => {
    const server = await recordingServer(clientCertificate(stock));
    await attempt(options(server.port));
    const { socket } = await attempt(options(server.port, { alpn: ['istio'], serverName: '' }));
    expect(server.offered).toEqual([['istio-http/1.1', 'istio', 'http/1.1'], ['istio']]);
    expect(socket?.alpnProtocol).toBe('istio');
    await until(() => server.handshakes.length === 2);
    expect(server.handshakes.map(({ servername }) => servername)).toEqual([
      'outbound_.80_._.stock.shop.svc.cluster.local',
      false,
    ]);
  });

  it('refuses an impostor of the same mesh before one byte is sent, and names both identities', async () => {
    const server = await recordingServer(
      clientCertificate(await authority.identity({ namespace: 'test', serviceAccount: 'test-team' })),
    );
    const error = await refusal(options(server.port));
    expect(error.code).toBe('ENMESH_TLS_SECURE_NAMING');
    expect(error.message).toContain(stockUri);
    expect(error.message).toContain('spiffe://cluster.local/ns/test/sa/test-team');
    await until(() => server.closed === 1);
    expect(server.bytes).toBe(0);
  });

  it('refuses without connecting when no identity is known for the service', async () => {
    const server = await recordingServer(clientCertificate(stock));
    expect((await refusal(options(server.port, { expected: [] }))).code).toBe('ENMESH_TLS_SECURE_NAMING');
    expect(server.handshakes).toEqual([]);
  });

  const bad = [
    ['unknown-root', 'ENMESH_TLS_SERVER_UNVERIFIED'],
    ['foreign-trust-domain', 'ENMESH_TLS_SERVER_UNVERIFIED'],
    ['expired', 'ENMESH_TLS_SERVER_UNVERIFIED'],
    ['self-signed', 'ENMESH_TLS_SERVER_UNVERIFIED'],
    ['stolen-trust-domain', 'ENMESH_X509_UNTRUSTED'],
    ['two-uris', 'ENMESH_X509_SVID_INVALID'],
    ['dns-only', 'ENMESH_X509_SVID_INVALID'],
    ['key-cert-sign', 'ENMESH_X509_SVID_INVALID'],
  ] as const;
  it.each(bad)('refuses a server with a certificate of kind %s, nothing sent', async (kind, code) => {
    const server = await recordingServer(
      clientCertificate(await authority.badIdentity(kind, { namespace: 'shop', serviceAccount: 'stock' })),
    );
    const foreignToo = [stockUri, 'spiffe://foreign.example/ns/shop/sa/stock'];
    expect((await refusal(options(server.port, { expected: foreignToo }))).code).toBe(code);
    await until(() => server.closed === 1);
    expect(server.bytes).toBe(0);
  });

  it.each(['TLSv1.2', 'TLSv1.3'] as const)(
    'never resumes a session over %s: each connection has its own full handshake',
    async (maxVersion) => {
      const server = await recordingServer({ ...clientCertificate(stock), maxVersion });
      for (let i = 0; i < 3; i++) {
        const { socket } = await attempt(options(server.port));
        expect(socket?.isSessionReused()).toBe(false);
        socket?.end();
        await closed(socket as TLSSocket);
      }
      expect(server.handshakes.map(({ isReused }) => isReused)).toEqual([false, false, false]);
    },
  );

  it('refuses a server that speaks TLS 1.1 only', async () => {
    const server = await recordingServer({
      ...clientCertificate(stock),
      minVersion: 'TLSv1.1',
      maxVersion: 'TLSv1.1',
      ciphers: 'DEFAULT:@SECLEVEL=0',
    });
    expect((await refusal(options(server.port))).code).toBe('ENMESH_TLS_CONNECT_FAILED');
  });

  it('gives up at its deadline on a server that never answers', async () => {
    const server = createNetServer(() => {}).listen(0, '127.0.0.1');
    await once(server, 'listening');
    open.push(server);
    const { port } = server.address() as AddressInfo;
    expect((await refusal(options(port, { timeoutMs: 40 }))).code).toBe('ENMESH_TLS_CONNECT_TIMEOUT');
  });

  it('says what the system said when nobody listens', async () => {
    const server = createNetServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    server.close();
    await once(server, 'close');
    const error = await refusal(options(port));
    expect([error.code, error.details['reason']]).toEqual(['ENMESH_TLS_CONNECT_FAILED', 'ECONNREFUSED']);
  });

  it('ends with the reason of an aborted signal, before and during the attempt', async () => {
    const server = createNetServer(() => {}).listen(0, '127.0.0.1');
    await once(server, 'listening');
    open.push(server);
    const { port } = server.address() as AddressInfo;
    const controller = new AbortController();
    const going = attempt(options(port, { signal: controller.signal }));
    await heard(server, 'connection');
    controller.abort();
    expect((await going).error?.name).toBe('AbortError');
    expect((await attempt(options(port, { signal: controller.signal }))).error?.name).toBe('AbortError');
  });

  it('refuses while there is no identity', async () => {
    const none = (): never => {
      throw new EnmeshError('ENMESH_IDENTITY_NONE', 'no identity yet');
    };
    const identity = { svid: { current: none, watch: () => () => {} }, bundles: gateway.bundles };
    expect((await refusal(options(1, { identity }))).code).toBe('ENMESH_IDENTITY_NONE');
  });
});

describe('chains with intermediates', () => {
  const newKey = (): ReturnType<typeof generateKeyPairSync>['privateKey'] =>
    generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey;
  const validity = { notBefore: Date.now() - 60_000, notAfter: Date.now() + 3_600_000 };

  async function chained(
    trustDomain: string,
  ): Promise<{ identity: MeshIdentity; bundles: MeshIdentity['bundles']; root: string }> {
    const [rootKey, middleKey, leafKey] = [newKey(), newKey(), newKey()] as const;
    const root = await issueCertificate({ ...rootOptions(trustDomain, rootKey), ...validity });
    const middle = await issueCertificate({
      ...{
        key: middleKey,
        issuer: root,
        issuerKey: rootKey,
        isCa: true,
        keyUsage: ['keyCertSign', 'cRLSign'],
        subject: { commonName: 'intermediate' },
      },
      ...validity,
    });
    const uri = `spiffe://${trustDomain}/ns/shop/sa/stock`;
    const leaf = await issueCertificate({ ...svidOptions(uri, leafKey), issuer: middle, issuerKey: middleKey, ...validity });
    const svid = {
      ...stock.svid.current(),
      id: { uri, trustDomain, path: '/ns/shop/sa/stock' },
      chain: leaf + middle,
      privateKey: leafKey,
    };
    const bundles = fixedTrustBundleSource(new Map([[trustDomain, { trustDomain, roots: [root] }]]));
    return { identity: { svid: fixedSvidSource(svid), bundles }, bundles, root };
  }

  it('are accepted in both directions, on every Node, when the bundle has the root', async () => {
    const { identity } = await chained('cluster.local');
    const lab = await startLab({ svid: gateway.svid, bundles: identity.bundles });
    open.push(lab);
    const own = await startLab(identity);
    open.push(own);
    const { error, socket } = await attempt(options(own.port, { identity }));
    expect(error).toBeNull();
    socket?.write('GET / HTTP/1.1\r\nHost: stock\r\n\r\n');
    await heard(socket as TLSSocket, 'data');
    expect(own.served[0]?.peer?.uri).toBe(stockUri);
  });

  it("are refused when another trust domain's root signed them, though OpenSSL holds that root too", async () => {
    const { identity, root } = await chained('cluster.local');
    const bundles = fixedTrustBundleSource(
      new Map([...authority.bundles, ['foreign.example', { trustDomain: 'foreign.example', roots: [root] }]]),
    );
    const lab = await startLab({ svid: stock.svid, bundles });
    open.push(lab);
    expect((await callTls(lab.port, { identity })).text).toBe('');
    expect(lab.served).toEqual([]);
    expect(lab.refusals).toEqual([expect.objectContaining({ code: 'ENMESH_X509_UNTRUSTED' })]);
    const server = await recordingServer({ ...clientCertificate(identity), ca: [authority.rootPem] });
    const error = await refusal(options(server.port, { identity: { svid: gateway.svid, bundles } }));
    expect(error.code).toBe('ENMESH_X509_UNTRUSTED');
    await until(() => server.closed === 1);
    expect(server.bytes).toBe(0);
  });
});
