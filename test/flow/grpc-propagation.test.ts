import { createHash, verify, X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as grpc from '@grpc/grpc-js';
import { createGrpcCredentials } from '@enmesh/core/grpc';
import { auditEvents, stepEvents, type AuditEvent } from '@enmesh/core';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createChain, type Chain, type ChainService } from '../support/hop-chain.js';
import { send, type Answer } from '../support/house.js';
import { serviceEntry } from '../support/documents.js';

const bytes = (value: Buffer): Buffer => value;
const method = { requestSerialize: bytes, requestDeserialize: bytes, responseSerialize: bytes, responseDeserialize: bytes };
const service = {
  Who: { path: '/shop.Stock/Who', requestStream: false, responseStream: false, ...method },
  Talk: { path: '/shop.Stock/Talk', requestStream: true, responseStream: true, ...method },
};
const authority = 'stock.shop.svc.cluster.local:50051';

const stockAt = (port: number): string => serviceEntry({ name: 'stock', port, servicePort: 50051, protocol: 'GRPC' });
const users = `
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: users, namespace: shop}
spec: {jwtRules: [{issuer: ISSUER, jwks: 'JWKS', audiences: [cluster.local], fromHeaders: [{name: Txn-Token}, {name: Authorization, prefix: 'Bearer '}]}]}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: modes, namespace: shop}
spec: {mtls: {mode: PERMISSIVE}}
`;
const entry = (spec: object): string =>
  JSON.stringify({
    apiVersion: 'enmesh.dev/v1',
    kind: 'TokenPropagation',
    metadata: { name: 'gateway', namespace: 'shop' },
    spec: { selector: { matchLabels: { app: 'gateway' } }, outbound: [{ hosts: ['stock'], ...spec }] },
  });

/** What the server saw of a call: its metadata, and the certificate of its caller. */
interface Seen {
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly certificate: X509Certificate;
  readonly txn: readonly unknown[];
}

let chain: Chain;
let gateway: ChainService;
let client: grpc.Client;
let port: number;
let directory: string;
let seen: Seen[] = [];
const ends: (() => unknown)[] = [];

const write = (...more: string[]): Promise<void> => chain.write([users, stockAt(port), ...more].join('\n---\n'));

async function startStock(): Promise<number> {
  const svid = await chain.authority.issue({ namespace: 'shop', serviceAccount: 'stock' });
  const key = Buffer.from(svid.privateKey.export({ type: 'pkcs8', format: 'pem' }));
  const server = new grpc.Server();
  const note = (call: Pick<grpc.ServerUnaryCall<Buffer, Buffer>, 'metadata' | 'getAuthContext'>): void => {
    const { raw } = call.getAuthContext().sslPeerCertificate as { raw: Buffer };
    seen.push({ metadata: call.metadata.getMap(), certificate: new X509Certificate(raw), txn: call.metadata.get('txn-token') });
  };
  server.addService(service, {
    Who(call: grpc.ServerUnaryCall<Buffer, Buffer>, answer: grpc.sendUnaryData<Buffer>) {
      note(call);
      answer(null, Buffer.from('stock'));
    },
    Talk(call: grpc.ServerDuplexStream<Buffer, Buffer>) {
      note(call);
      call.on('data', (message: Buffer) => call.write(message));
      call.on('end', () => call.end());
      call.on('error', () => {});
    },
  });
  const pair = [{ private_key: key, cert_chain: Buffer.from(svid.chain) }];
  const credentials = grpc.ServerCredentials.createSsl(Buffer.from(chain.authority.rootPem), pair, true);
  ends.push(() => server.forceShutdown());
  return new Promise((done, fail) => {
    server.bindAsync('127.0.0.1:0', credentials, (error, bound) => (error === null ? done(bound) : fail(error)));
  });
}

interface Asking {
  readonly metadata?: Readonly<Record<string, string>>;
  readonly message?: string;
  readonly options?: grpc.CallOptions;
}

const who = ({ metadata = {}, message = '?', options = {} }: Asking = {}): Promise<string> =>
  new Promise((done, fail) => {
    const sent = grpc.Metadata.fromHttp2Headers(metadata);
    const given = { deadline: Date.now() + 40_000, ...options };
    client.makeUnaryRequest(service.Who.path, bytes, bytes, Buffer.from(message), sent, given, (error, answer) => {
      if (error === null) done(String(answer));
      else fail(error);
    });
  });

/** A user's request whose handler makes the call. */
async function enter(
  call: (token: string) => Promise<string>,
  claims: object = {},
  header: object = {},
): Promise<Answer & { token: string }> {
  const named = { sub: 'jane', aud: 'cluster.local', groups: ['admin'], ...claims };
  const token = await chain.issuer.sign(named, { header } as never);
  gateway.handle = async (_request, response) => {
    const text = await call(token).catch(({ code, details }: grpc.ServiceError) => `${code} ${details}`);
    response.end(text);
  };
  return { token, ...(await send({ port: gateway.port }, 'GET', '/', [['Authorization', `Bearer ${token}`]])) };
}

/** The claims of the hop token of a call, whose signature the certificate of its connection must verify. */
function hopOf({ metadata, certificate }: Seen): Record<string, unknown> {
  const [header = '', payload = '', signature = ''] = String(metadata['enmesh-hop-token']).split('.');
  const parse = (part: string): Record<string, unknown> => JSON.parse(Buffer.from(part, 'base64url').toString()) as never;
  expect(parse(header)['x5t#S256']).toBe(createHash('sha256').update(certificate.raw).digest('base64url'));
  const key = { key: certificate.publicKey, dsaEncoding: 'ieee-p1363' as const };
  expect(verify('sha256', Buffer.from(`${header}.${payload}`), key, Buffer.from(signature, 'base64url'))).toBe(true);
  return parse(payload);
}

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'enmesh-grpc-'));
  chain = await createChain({ services: ['gateway'], yaml: users });
  gateway = chain.of('gateway');
  port = await startStock();
  await write();
  const { target, credentials, options } = createGrpcCredentials(grpc, gateway.mesh, authority);
  client = new grpc.Client(target, credentials, options);
  ends.push(
    () => rmSync(directory, { recursive: true, force: true }),
    () => chain.close(),
    () => client.close(),
  );
});
beforeEach(() => {
  seen = [];
});
afterAll(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

describe('a call of grpc-js that is made for a user', () => {
  it('carries a hop token in its metadata, and not what the application sets by that name', async () => {
    await write(entry({ mode: 'HOP', claims: ['groups'] }));
    expect((await enter(() => who({ metadata: { 'enmesh-hop-token': 'forged', 'x-mine': '1' } }))).body).toBe('stock');
    expect(seen[0]?.metadata).toMatchObject({ 'x-mine': '1' });
    expect(seen[0]?.metadata).not.toHaveProperty('authorization');
    expect(hopOf(seen[0]!)).toMatchObject({
      sub: 'jane',
      iss: 'spiffe://cluster.local/ns/shop/sa/gateway',
      aud: ['spiffe://cluster.local/ns/shop/sa/stock'],
      user: { iss: chain.issuer.issuer, groups: ['admin'] },
    });
  });

  it('carries one in streams too, and none in background work', async () => {
    await write(entry({ mode: 'HOP' }));
    const talk = (): Promise<string> =>
      new Promise((done, fail) => {
        const stream = client.makeBidiStreamRequest(service.Talk.path, bytes, bytes);
        stream.on('data', (message: Buffer) => (stream.end(), done(String(message)))).on('error', fail);
        stream.write(Buffer.from('hello'));
      });
    expect((await enter(talk)).body).toBe('hello');
    expect(hopOf(seen[0]!)).toMatchObject({ sub: 'jane' });
    expect(await who({ metadata: { authorization: 'Basic own' } })).toBe('stock');
    expect(seen[1]?.metadata).toMatchObject({ authorization: 'Basic own' });
    expect(seen[1]?.metadata).not.toHaveProperty('enmesh-hop-token');
  });

  it('is told of its end in the context of its own request, whoever opened the connection', async () => {
    await write(entry({ mode: 'HOP' }));
    const told: string[] = [];
    const talk = (): Promise<string> =>
      new Promise((done, fail) => {
        const whoNow = (): string => gateway.mesh.context()?.user?.subject ?? 'nobody';
        const me = whoNow();
        const note = (): void => void told.push(`${me} as ${whoNow()}`);
        const stream = client.makeBidiStreamRequest(service.Talk.path, bytes, bytes);
        stream.on('metadata', note).on('data', note).on('end', note).on('error', fail);
        stream.on('status', () => (note(), done('told')));
        stream.end(Buffer.from('hello'));
      });
    for (const sub of ['jane', 'joe']) expect((await enter(talk, { sub })).body).toBe('told');
    expect([...new Set(told)]).toEqual(['jane as jane', 'joe as joe']);
  });

  it('has a token of the very certificate of its connection, through many rotations', async () => {
    await write(entry({ mode: 'HOP' }));
    const { body } = await enter(async () => {
      const calls: Promise<string>[] = [];
      for (let round = 0; round < 15; round++) {
        // Of both sides of each rotation, some of them still waiting for their connection when it happens.
        calls.push(who(), who());
        await gateway.renew();
        calls.push(who());
        if (round % 3 === 0) await calls.at(-1);
      }
      return [...new Set(await Promise.all(calls))].join();
    });
    expect(body).toBe('stock');
    expect(seen).toHaveLength(45);
    for (const one of seen) hopOf(one);
    expect(new Set(seen.map(({ certificate }) => certificate.serialNumber)).size).toBeGreaterThan(10);
  });

  it.each([
    ['FORWARD', (token: string) => `Bearer ${token}`],
    ['EXCHANGE', () => 'Bearer for-1'],
  ])(
    'carries by mode %s one authorization, over whatever the application or its call credentials set',
    async (mode, expected) => {
      const idp = mode === 'EXCHANGE' ? await startProvider() : undefined;
      await write(entry(idp === undefined ? { mode } : { mode, exchange: idp.exchange }));
      const own = grpc.CallCredentials.createFromMetadataGenerator((_options, done) => {
        done(null, grpc.Metadata.fromHttp2Headers({ authorization: 'Basic generated', 'x-generated': '1' }));
      });
      const call = (): Promise<string> => who({ metadata: { authorization: 'Basic own' }, options: { credentials: own } });
      const { token, body } = await enter(call);
      expect(body).toBe('stock');
      expect(seen[0]?.metadata).toMatchObject({ authorization: expected(token), 'x-generated': '1' });
      idp?.server.close();
    },
  );

  it.each(['in its metadata', 'by its call credentials'])(
    'passes a transaction token on unchanged and once, whatever the application sets %s',
    async (where) => {
      await write();
      const call = (token: string): Promise<string> => {
        const copies = { 'txn-token': token, 'x-mine': '1' };
        if (where === 'in its metadata') return who({ metadata: copies });
        const credentials = grpc.CallCredentials.createFromMetadataGenerator((_options, done) =>
          done(null, grpc.Metadata.fromHttp2Headers(copies)),
        );
        return who({ metadata: { 'txn-token': 'other' }, options: { credentials } });
      };
      const { token, body } = await enter(call, { txn: 't-1', scope: 'pay', req_wl: 'edge' }, { typ: 'txntoken+jwt' });
      expect(body).toBe('stock');
      expect(seen[0]?.metadata).toMatchObject({ 'txn-token': token, 'x-mine': '1' });
      expect(seen[0]?.txn).toEqual([token]);
    },
  );

  it('is not made where the user cannot be carried, and says why', async () => {
    const idp = await startProvider(500);
    await write(entry({ mode: 'EXCHANGE', exchange: idp.exchange }));
    expect((await enter(() => who())).body).toMatch(/^14 ENMESH_PROPAGATION_EXCHANGE_FAILED: /);
    expect(seen).toEqual([]);
    idp.server.close();
  });

  it('is told in the event of the call, with who is carried', async () => {
    await write(entry({ mode: 'HOP' }));
    const told: unknown[] = [];
    const stop = stepEvents.outbound.subscribe(({ details }) => told.push(details));
    const audited: AuditEvent[] = [];
    const stopAudit = auditEvents.subscribe((event) => audited.push(event));
    await enter(() => who());
    stop();
    stopAudit();
    const user = `${chain.issuer.issuer}/jane`;
    expect(told).toEqual([expect.objectContaining({ origin: `http://${authority}`, propagation: 'HOP', user })]);
    expect(audited.filter(({ kind }) => kind === 'call')).toEqual([
      expect.objectContaining({
        path: '/shop.Stock/Who',
        mode: 'HOP',
        host: 'stock.shop.svc.cluster.local',
        port: 50051,
        token: 'minted',
      }),
    ]);
  });
});

describe("the user's own token in a call of grpc-js", () => {
  const places: [string, (token: string) => Asking][] = [
    ['authorization', (token) => ({ metadata: { authorization: `Bearer ${token}` } })],
    ['metadata of another name', (token) => ({ metadata: { 'x-user': Buffer.from(token).toString('base64') } })],
    ['binary metadata', (token) => ({ metadata: { 'user-bin': Buffer.from(token).toString('base64') } })],
    [
      'call credentials',
      (token) => ({
        options: {
          credentials: grpc.CallCredentials.createFromMetadataGenerator((_options, done) => {
            done(null, grpc.Metadata.fromHttp2Headers({ 'x-user': token }));
          }),
        },
      }),
    ],
  ];
  it.each(places)('is refused in %s, in every mode but FORWARD', async (_place, asking) => {
    await write(entry({ mode: 'NONE' }), other);
    const told: (string | undefined)[] = [];
    const stop = stepEvents.outbound.subscribe(({ code }) => told.push(code));
    const { body, token } = await enter((own) => who(asking(own)));
    stop();
    expect(body).toMatch(/^14 ENMESH_PROPAGATION_EGRESS: /);
    expect(body).not.toContain(token.split('.')[2]);
    expect(told).toContain('ENMESH_PROPAGATION_EGRESS');
    expect(seen).toEqual([]);
    expect((await enter(() => who({ metadata: { 'x-mine': 'no token' } }))).body).toBe('stock');
  });

  it('is taken out by `strip`, and refused in messages by `guardBodies`', async () => {
    const careful = await createChain({ services: ['gateway'], yaml: users, mesh: { egressGuard: 'strip', guardBodies: true } });
    ends.push(() => careful.close());
    const [before, door] = [chain, gateway];
    const given = createGrpcCredentials(grpc, careful.of('gateway').mesh, authority);
    const [own, ofBefore] = [new grpc.Client(given.target, given.credentials, given.options), client];
    [chain, gateway, client] = [careful, careful.of('gateway'), own];
    try {
      port = await startStock();
      await write();
      const { body } = await enter((token) => who({ metadata: { authorization: `Bearer ${token}`, 'x-mine': '1' } }));
      expect(body).toBe('stock');
      expect(seen[0]?.metadata).toMatchObject({ 'x-mine': '1' });
      expect(seen[0]?.metadata).not.toHaveProperty('authorization');
      const refused = await enter((token) => who({ message: `in a message ${token}` }));
      expect(refused.body).toMatch(/^14 ENMESH_PROPAGATION_EGRESS: .* its body/);
      expect(seen).toHaveLength(1);
    } finally {
      own.close();
      [chain, gateway, client] = [before, door, ofBefore];
    }
  });
});

/** Has the context kept though nothing is carried to the service itself. */
const other = JSON.stringify({
  apiVersion: 'enmesh.dev/v1',
  kind: 'TokenPropagation',
  metadata: { name: 'other', namespace: 'shop' },
  spec: { outbound: [{ hosts: ['elsewhere'], mode: 'HOP' }] },
});

async function startProvider(status = 200): Promise<{ server: Server; exchange: object }> {
  writeFileSync(join(directory, 'secret'), 'very secret');
  const issued = 'urn:ietf:params:oauth:token-type:access_token';
  const answer = { access_token: 'for-1', token_type: 'Bearer', issued_token_type: issued, expires_in: 300 };
  const server = createServer((request, response) => {
    request.resume().on('end', () => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
    });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const clientAuth = { method: 'client_secret_post', clientId: 'gateway', clientSecretFile: join(directory, 'secret') };
  const tokenEndpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}/token`;
  return { server, exchange: { tokenEndpoint, insecureHttp: true, audience: 'stock', clientAuth } };
}
