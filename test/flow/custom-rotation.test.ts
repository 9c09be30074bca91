import { mkdirSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { Server as GrpcServer, ServerCredentials } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { X509Svid } from '@enmesh/core';
import { createTestAuthority, type TestAuthority } from '@enmesh/core/testing';
import { replaceable } from '../support/callers.js';
import { createHouse, open, send, type House } from '../support/house.js';
import { untilHolds } from '../support/waiting.js';
import { serviceEntry } from '../support/documents.js';

const policies = `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ask, namespace: shop}
spec: {action: CUSTOM, provider: {name: authz}, rules: [{}]}
`;
const keyOf = ({ privateKey }: Pick<X509Svid, 'privateKey'>): string =>
  privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;

/** A gRPC authorizer of the mesh that allows everything and notes the serial number of each caller's certificate. */
async function startAuthorizer(authority: TestAuthority, serials: string[]): Promise<{ server: GrpcServer; port: number }> {
  const svid = await authority.issue({ namespace: 'security', serviceAccount: 'authz' });
  const server = new GrpcServer();
  server.register(
    '/envoy.service.auth.v3.Authorization/Check',
    (
      call: { getAuthContext(): { sslPeerCertificate?: { serialNumber?: string } } },
      done: (error: null, answer: Buffer) => void,
    ) => {
      serials.push(String(call.getAuthContext().sslPeerCertificate?.serialNumber).toLowerCase());
      // CheckResponse {status: {}}
      done(null, Buffer.from([0x0a, 0x00]));
    },
    (answer: Buffer) => answer,
    (bytes: Buffer) => bytes,
    'unary',
  );
  const pair = [{ private_key: Buffer.from(keyOf(svid)), cert_chain: Buffer.from(svid.chain) }];
  const credentials = ServerCredentials.createSsl(Buffer.from(authority.rootPem), pair, true);
  const port = await new Promise<number>((done, fail) =>
    server.bindAsync('127.0.0.1:0', credentials, (error, bound) => (error === null ? done(bound) : fail(error))),
  );
  return { server, port };
}

describe('the connections of a gRPC authorizer', () => {
  let authority: TestAuthority;
  let identity: ReturnType<typeof replaceable>;
  let house: House;
  let authorizer: GrpcServer;
  let serials: string[];
  /** Stands between, to see and cut connections. */
  let relay: Server;
  let sockets: Set<Socket>;
  let port: number;

  const issue = (): Promise<X509Svid> => authority.issue({ namespace: 'shop', serviceAccount: 'product' });
  const ask = async (): Promise<number> => (await send({ port }, 'GET', '/')).status;
  const serialOf = ({ serial }: X509Svid): string => serial.toLowerCase().replace(/^0+/, '');
  const lastSerial = (): string => String(serials.at(-1)).replace(/^0+/, '');
  beforeEach(async () => {
    authority = await createTestAuthority();
    serials = [];
    sockets = new Set();
    const started = await startAuthorizer(authority, serials);
    authorizer = started.server;
    relay = createServer((near) => {
      const far = connect(started.port, '127.0.0.1');
      sockets.add(near);
      near.on('error', () => {}).on('close', () => (sockets.delete(near), far.destroy()));
      far.on('error', () => {}).on('close', () => near.destroy());
      near.pipe(far).pipe(near);
    });
    await new Promise<void>((done) => relay.listen(0, '127.0.0.1', done));
    identity = replaceable(await issue(), authority.bundles);
    house = await createHouse('', { identity });
    mkdirSync(join(house.directory, 'enmesh'));
    await house.write(
      'services.yaml',
      serviceEntry({ name: 'authz', namespace: 'security', port: (relay.address() as AddressInfo).port, protocol: 'GRPC' }),
    );
    const provider =
      '{name: authz, envoyExtAuthzGrpc: {service: security/authz.security.svc.cluster.local, port: 80, timeout: 60s}}';
    await house.write('enmesh/mesh.yaml', `extensionProviders: [${provider}]`);
    await house.write('policies.yaml', policies);
    port = await open(house.mesh.createServer((_request, response) => response.end('handled')));
  });
  afterEach(async () => {
    await house.close();
    for (const socket of sockets) socket.destroy();
    relay.close();
    authorizer.forceShutdown();
  });

  it('end with a rotation, unasked, and the next check shows the new certificate', async () => {
    const first = identity.svid.current();
    expect(await ask()).toBe(200);
    expect([lastSerial(), sockets.size]).toEqual([serialOf(first), 1]);
    const second = await issue();
    identity.rotate(second);
    await untilHolds(() => expect(sockets.size).toBe(0));
    expect(await ask()).toBe(200);
    expect([lastSerial(), sockets.size]).toEqual([serialOf(second), 1]);
  });

  it('end when the root of the authorizer leaves the bundle: nobody is asked, until it is back', async () => {
    expect(await ask()).toBe(200);
    identity.trust((await createTestAuthority()).bundles);
    await untilHolds(() => expect(sockets.size).toBe(0));
    expect(await ask()).toBe(403);
    expect(serials).toHaveLength(1);
    identity.trust(authority.bundles);
    expect(await ask()).toBe(200);
    expect(serials).toHaveLength(2);
  });

  it('are made anew when they have died', async () => {
    expect(await ask()).toBe(200);
    for (const socket of sockets) socket.resetAndDestroy();
    await untilHolds(() => expect(sockets.size).toBe(0));
    await untilHolds(async () => expect(await ask()).toBe(200));
    expect(sockets.size).toBe(1);
  });

  it('end with the provider that a reload takes away, and with the mesh', async () => {
    expect(await ask()).toBe(200);
    await house.write('enmesh/mesh.yaml', 'extensionProviders: []');
    await untilHolds(() => expect(sockets.size).toBe(0));
    const provider =
      '{name: authz, envoyExtAuthzGrpc: {service: security/authz.security.svc.cluster.local, port: 80, timeout: 60s}}';
    await house.write('enmesh/mesh.yaml', `extensionProviders: [${provider}]`);
    expect(await ask()).toBe(200);
    expect(sockets.size).toBe(1);
    await house.mesh.close();
    await untilHolds(() => expect(sockets.size).toBe(0));
  });
});
