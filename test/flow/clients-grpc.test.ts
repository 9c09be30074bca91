import { createServer } from 'node:tls';
import * as grpc from '@grpc/grpc-js';
import { createGrpcCredentials } from '@enmesh/core/grpc';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createCallers, listenOn, serviceAt, type Caller, type Callers } from '../support/callers.js';

const bytes = (value: Buffer): Buffer => value;
const method = { requestSerialize: bytes, requestDeserialize: bytes, responseSerialize: bytes, responseDeserialize: bytes };
const service = {
  Who: { path: '/shop.Stock/Who', requestStream: false, responseStream: false, ...method },
  Talk: { path: '/shop.Stock/Talk', requestStream: true, responseStream: true, ...method },
};
const authority = 'stock.shop.svc.cluster.local:80';

let callers: Callers;
let gateway: Caller;
let connections: Set<string>;
beforeEach(async () => {
  callers = await createCallers();
  gateway = await callers.open('gateway');
  connections = new Set();
});
afterEach(() => callers.close());

/** A server of grpc-js with an SVID, that tells each caller who it is. */
async function startStock(serviceAccount = 'stock'): Promise<number> {
  const svid = await callers.authority.issue({ namespace: 'shop', serviceAccount });
  const key = Buffer.from(svid.privateKey.export({ type: 'pkcs8', format: 'pem' }));
  const pair = [{ private_key: key, cert_chain: Buffer.from(svid.chain) }];
  const server = new grpc.Server();
  const nameOf = (call: Pick<grpc.ServerUnaryCall<Buffer, Buffer>, 'getAuthContext'>): Buffer => {
    const { subjectaltname, serialNumber } = call.getAuthContext().sslPeerCertificate ?? {};
    return Buffer.from(`${subjectaltname?.replace('URI:', '')} ${serialNumber}`);
  };
  server.addService(service, {
    Who(call: grpc.ServerUnaryCall<Buffer, Buffer>, answer: grpc.sendUnaryData<Buffer>) {
      connections.add(call.getPeer());
      answer(null, nameOf(call));
    },
    Talk(call: grpc.ServerDuplexStream<Buffer, Buffer>) {
      const serial = nameOf(call);
      call.on('data', (message: Buffer) => call.write(Buffer.concat([message, Buffer.from(' '), serial])));
      call.on('end', () => call.end());
      call.on('error', () => {});
    },
  });
  const credentials = grpc.ServerCredentials.createSsl(Buffer.from(callers.authority.rootPem), pair, true);
  const port = await new Promise<number>((done, fail) => {
    server.bindAsync('127.0.0.1:0', credentials, (error, bound) => (error === null ? done(bound) : fail(error)));
  });
  callers.ends.push(() => server.forceShutdown());
  return port;
}

function clientOf(caller: Caller, target = authority): grpc.Client {
  const given = createGrpcCredentials(grpc, caller.mesh, target);
  const client = new grpc.Client(given.target, given.credentials, { ...given.options, 'grpc.initial_reconnect_backoff_ms': 100 });
  callers.ends.push(() => client.close());
  return client;
}

const who = (client: grpc.Client): Promise<string> =>
  new Promise((done, fail) => {
    const { path } = service.Who;
    client.makeUnaryRequest(path, bytes, bytes, Buffer.from('?'), { deadline: Date.now() + 40_000 }, (error, answer) => {
      if (error === null) done(String(answer));
      else fail(error);
    });
  });
const uri = 'spiffe://cluster.local/ns/shop/sa/gateway';

describe('a client of grpc-js in the mesh', () => {
  it('calls a declared service by mutual TLS on one connection, as its logical name', async () => {
    const port = await startStock();
    await gateway.configure({ 'stock.yaml': serviceAt('stock', [port], 'GRPC') });
    const client = clientOf(gateway);
    await new Promise<void>((done, fail) => client.waitForReady(Date.now() + 40_000, (error) => (error ? fail(error) : done())));
    for (let i = 0; i < 3; i++) expect(await who(client)).toContain(uri);
    expect([client.getChannel().getTarget(), connections.size]).toEqual([authority, 1]);
  });

  it('refuses an impostor, a service nobody declares and one without endpoints, and says which it was', async () => {
    const impostor = await startStock('test-team');
    await gateway.configure({ 'stock.yaml': serviceAt('stock', [impostor], 'GRPC') });
    await expect(who(clientOf(gateway))).rejects.toMatchObject({
      code: 14,
      details: expect.stringContaining('is not who answers'),
    });
    expect(connections.size).toBe(0);
    await expect(who(clientOf(gateway, `127.0.0.1:${impostor}`))).rejects.toMatchObject({
      code: 14,
      details: expect.stringContaining('ENMESH_OUTBOUND_UNDECLARED'),
    });
    await gateway.configure({
      'stock.yaml': serviceAt('stock', [], 'GRPC')
        .replace('STATIC', 'DNS')
        .replace('endpoints: []', 'workloadSelector: {labels: {a: b}}'),
    });
    await expect(who(clientOf(gateway))).rejects.toMatchObject({
      details: expect.stringContaining('ENMESH_OUTBOUND_UNREACHABLE'),
    });
    expect(() => createGrpcCredentials(grpc, gateway.mesh, 'stock')).toThrow(TypeError);
    expect(() => createGrpcCredentials(grpc, {}, authority)).toThrow(TypeError);
  });

  it('secures connections also where the options were forgotten', async () => {
    const [stock, impostor] = [await startStock(), await startStock('test-team')];
    await gateway.configure({ 'stock.yaml': serviceAt('stock', [stock], 'GRPC') });
    const { credentials } = createGrpcCredentials(grpc, gateway.mesh, authority);
    const call = async (port: number): Promise<string> => {
      const client = new grpc.Client(`127.0.0.1:${port}`, credentials, { 'grpc.use_local_subchannel_pool': 1 });
      callers.ends.push(() => client.close());
      return who(client);
    };
    expect(await call(stock)).toContain(uri);
    await expect(call(impostor)).rejects.toMatchObject({ code: 14 });
  });

  it('shows a new certificate from the next call on, while a stream that stands goes on as it was, through many rotations', async () => {
    const port = await startStock();
    await gateway.configure({ 'stock.yaml': serviceAt('stock', [port], 'GRPC') });
    const client = clientOf(gateway);
    const stream = client.makeBidiStreamRequest(service.Talk.path, bytes, bytes);
    const heard: string[] = [];
    const failed: Error[] = [];
    stream.on('data', (message: Buffer) => heard.push(String(message))).on('error', (error: Error) => failed.push(error));
    const answers: Promise<string>[] = [];
    const serials = new Set<string>();
    for (let round = 0; round < 20; round++) {
      stream.write(Buffer.from(String(round)));
      // Calls of both sides of each rotation, some of them still waiting for their connection when it happens.
      answers.push(who(client), who(client));
      gateway.identity.rotate(await callers.authority.issue({ namespace: 'shop', serviceAccount: 'gateway' }));
      const answer = await who(client);
      serials.add(answer);
      expect(answer.toUpperCase()).toContain(serialOf(gateway));
    }
    await Promise.all(answers);
    const ended = new Promise((done) => stream.on('end', done));
    stream.end();
    await ended;
    expect([failed, serials.size, heard.length]).toEqual([[], 20, 20]);
    expect(new Set(heard.map((message) => message.slice(message.indexOf(' ')))).size).toBe(1);
  });

  it("offers Istio's protocol names and server name to the mesh, and h2 alone by a DestinationRule of mode SIMPLE", async () => {
    const heard: object[] = [];
    const server = createServer({
      ALPNCallback: ({ servername, protocols }) => {
        heard.push({ servername, protocols });
        return undefined;
      },
    });
    const port = await listenOn(server);
    callers.ends.push(() => server.close());
    await gateway.configure({ 'stock.yaml': serviceAt('stock', [port], 'GRPC') });
    await expect(who(clientOf(gateway))).rejects.toMatchObject({ code: 14 });
    const mesh = { servername: 'outbound_.80_._.stock.shop.svc.cluster.local', protocols: ['istio-h2', 'istio', 'h2'] };
    expect(heard[0]).toEqual(mesh);
    heard.length = 0;
    const rule = `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: stock, namespace: shop}
spec: {host: stock, trafficPolicy: {tls: {mode: SIMPLE}}}
`;
    await gateway.configure({ 'rule.yaml': rule });
    await expect(who(clientOf(gateway))).rejects.toMatchObject({ code: 14 });
    // The client of before may have tried once more meanwhile.
    expect(heard).toContainEqual({ servername: 'stock.shop.svc.cluster.local', protocols: ['h2'] });
  });

  it('follows a reload to other endpoints, and ends with the mesh', async () => {
    const [first, second] = [await startStock(), await startStock()];
    await gateway.configure({ 'stock.yaml': serviceAt('stock', [first], 'GRPC') });
    const client = clientOf(gateway);
    await who(client);
    await gateway.configure({ 'other.yaml': serviceAt('other', [9], 'GRPC') });
    await who(client);
    expect(connections.size).toBe(1);
    await gateway.configure({ 'stock.yaml': serviceAt('stock', [second], 'GRPC') });
    await who(client);
    expect(connections.size).toBe(2);
    const stream = client.makeBidiStreamRequest(service.Talk.path, bytes, bytes);
    const ended = new Promise((done) => stream.on('error', done));
    const answered = new Promise((done) => stream.once('data', done));
    stream.write(Buffer.from('begun'));
    await answered;
    const closed = gateway.mesh.close({ deadlineMs: 100 });
    await new Promise(setImmediate);
    await expect(who(client)).rejects.toMatchObject({ details: expect.stringContaining('ENMESH_OUTBOUND_CLOSED') });
    await closed;
    expect(await ended).toMatchObject({ code: 14, details: expect.stringContaining('did not finish in time') });
    await expect(who(client)).rejects.toMatchObject({ details: expect.stringContaining('ENMESH_OUTBOUND_CLOSED') });
  });
});

const serialOf = ({ identity }: Caller): string => identity.svid.current().serial.toUpperCase().replace(/^0+/, '');
