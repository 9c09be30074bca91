import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { Server as GrpcServer, ServerCredentials } from '@grpc/grpc-js';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { deniedEvents, type DeniedEvent } from '@enmesh/core';
import { createHouse, open, send, type House } from '../support/house.js';
import { serviceEntry } from '../support/documents.js';

/** Whom each authorizer saw calling: the URI SAN of the client's certificate. */
const callers: string[] = [];
const denied: DeniedEvent[] = [];

const policy = `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ask, namespace: shop}
spec: {action: CUSTOM, provider: {name: authz}, rules: [{}]}
`;

describe('an authorizer that is a service of the mesh', () => {
  let house: House;
  let port: number;
  let https: ReturnType<typeof createServer>;
  let grpc: GrpcServer;
  let grpcPort: number;
  let stop: () => void;

  beforeAll(async () => {
    house = await createHouse('');
    mkdirSync(join(house.directory, 'enmesh'));
    const svid = await house.authority.issue({ namespace: 'security', serviceAccount: 'authz' });
    const key = svid.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
    const tls = { key, cert: svid.chain, ca: house.authority.rootPem };
    https = createServer({ ...tls, requestCert: true, rejectUnauthorized: true }, (request, response) => {
      callers.push((request.socket as TLSSocket).getPeerCertificate().subjectaltname ?? '');
      response.end();
    });
    await open(https);
    grpc = new GrpcServer();
    grpc.register(
      '/envoy.service.auth.v3.Authorization/Check',
      (
        call: { getAuthContext(): { sslPeerCertificate?: { subjectaltname?: string } } },
        done: (error: null, answer: Buffer) => void,
      ) => {
        callers.push(call.getAuthContext().sslPeerCertificate?.subjectaltname ?? '');
        // CheckResponse {status: {}}
        done(null, Buffer.from([0x0a, 0x00]));
      },
      (answer: Buffer) => answer,
      (bytes: Buffer) => bytes,
      'unary',
    );
    const pair = [{ private_key: Buffer.from(key), cert_chain: Buffer.from(svid.chain) }];
    const credentials = ServerCredentials.createSsl(Buffer.from(house.authority.rootPem), pair, true);
    grpcPort = await new Promise<number>((done, fail) =>
      grpc.bindAsync('127.0.0.1:0', credentials, (error, bound) => (error === null ? done(bound) : fail(error))),
    );
    await house.write('policies.yaml', policy);
    port = await open(house.mesh.createServer((_request, response) => response.end('handled')));
    stop = deniedEvents.subscribe((event) => denied.push(event));
  });
  beforeEach(() => void (callers.splice(0), denied.splice(0)));
  afterAll(async () => {
    stop();
    await house.close();
    grpc.forceShutdown();
    https.closeAllConnections();
    https.close();
  });

  const use = async (kind: 'Http' | 'Grpc', account: string): Promise<void> => {
    const targetPort = kind === 'Http' ? (https.address() as AddressInfo).port : grpcPort;
    await house.write(
      'services.yaml',
      serviceEntry({ name: 'authz', namespace: 'security', port: targetPort, serviceAccount: account }),
    );
    const provider = `{name: authz, envoyExtAuthz${kind}: {service: security/authz.security.svc.cluster.local, port: 80}}`;
    await house.write('enmesh/mesh.yaml', `extensionProviders: [${provider}]`);
  };

  it.each(['Http', 'Grpc'] as const)('is asked over mutual TLS, with our own identity: %s', async (kind) => {
    await use(kind, 'authz');
    expect(await send({ port }, 'GET', '/')).toMatchObject({ status: 200, body: 'handled' });
    expect(callers).toEqual(['URI:spiffe://cluster.local/ns/shop/sa/product']);
  });

  it.each(['Http', 'Grpc'] as const)('is not asked when it has another identity than its service: %s', async (kind) => {
    await use(kind, 'somebody-else');
    expect((await send({ port }, 'GET', '/')).status).toBe(403);
    expect(callers).toEqual([]);
    expect(denied.map(({ code }) => code)).toContain('ENMESH_CUSTOM_CHECK_FAILED');
  });
});
