import { createServer, type ServerOptions } from 'node:https';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { generateKeyPairSync } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { issueCertificate, rootOptions } from '@enmesh/core/x509';
import { createCallers, listenOn, serviceAt, type Callers } from '../support/callers.js';

let callers: Callers;
beforeEach(async () => {
  callers = await createCallers();
});
afterEach(() => callers.close());

/** A server that tells version and cipher suite of the connection that it was asked on. */
async function tellTls(options: ServerOptions): Promise<number> {
  const server = createServer(options, (request, response) => {
    const socket = request.socket as TLSSocket;
    response.end(`${socket.getProtocol()} ${socket.getCipher().name}`);
  });
  callers.ends.push(() => (server.closeAllConnections(), server.close()));
  return listenOn(server);
}

/** A peer of the mesh that is no enmesh, such as an old sidecar. */
async function startStock(options: ServerOptions): Promise<number> {
  const { chain, privateKey } = await callers.authority.issue({ namespace: 'shop', serviceAccount: 'stock' });
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' });
  const mutual = {
    requestCert: true,
    rejectUnauthorized: true,
    ca: callers.authority.rootPem,
    ALPNProtocols: ['istio', 'http/1.1'],
  };
  return tellTls({ cert: chain, key, ...mutual, ...options });
}

/** A server outside the mesh, with a key of ECDSA; and the root that signs its certificate. */
async function startPartner(options: ServerOptions): Promise<{ port: number; root: string }> {
  const privateKey = generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey;
  const times = { notBefore: Date.now() - 60_000, notAfter: Date.now() + 3_600_000 };
  const root = await issueCertificate({ ...rootOptions('web.test', privateKey), ...times });
  const leaf = { key: privateKey, issuer: root, issuerKey: privateKey, isCa: false, keyUsage: ['digitalSignature'] as const };
  const cert = await issueCertificate({ ...leaf, ...times, dnsSans: ['api.partner.example'] });
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' });
  return { port: await tellTls({ cert, key, ...options }), root };
}

const partnerAt = (port: number, rootFile: string): string => `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: partner, namespace: shop}
spec:
  hosts: [api.partner.example]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  location: MESH_EXTERNAL
  endpoints: [{address: 127.0.0.1, ports: {http: ${port}}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: partner, namespace: shop}
spec:
  host: api.partner.example
  trafficPolicy: {tls: {mode: SIMPLE, caCertificates: ${rootFile}, sni: api.partner.example, subjectAltNames: [api.partner.example]}}
`;

/** Calls both and tells how, or the code of the refusal. */
async function start(stock: ServerOptions, partner: ServerOptions, meshYaml: string) {
  const { port, root } = await startPartner(partner);
  const gateway = await callers.open('gateway', {
    'enmesh/mesh.yaml': meshYaml,
    'stock.yaml': serviceAt('stock', [await startStock(stock)]),
  });
  const rootFile = join(gateway.config, '../partner.pem');
  writeFileSync(rootFile, root);
  await gateway.configure({ 'partner.yaml': partnerAt(port, rootFile) });
  const ask = async (url: string): Promise<string> => {
    try {
      return await (await gateway.mesh.request(url, { reset: true })).body.text();
    } catch (error) {
      return String((error as { code?: string }).code);
    }
  };
  return {
    configure: (text: string) => gateway.configure({ 'enmesh/mesh.yaml': text }),
    both: async () => [await ask('http://stock.shop.svc.cluster.local/'), await ask('http://api.partner.example/')],
  };
}

const [strong, weak] = ['ECDHE-ECDSA-AES256-GCM-SHA384', 'ECDHE-ECDSA-AES128-GCM-SHA256'];
const old = { maxVersion: 'TLSv1.2', ciphers: [strong, weak].join(':') } as const;

describe('TLS settings of MeshConfig, seen by the servers that are called', () => {
  it('offers TLS 1.3 and 1.2 to the mesh whatever servers here ask of their clients, as a sidecar does', async () => {
    const { both } = await start(old, old, 'meshMTLS: {minProtocolVersion: TLSV1_3}\n');
    expect(await both()).toEqual([`TLSv1.2 ${strong}`, expect.stringMatching(/^TLSv1.2 /)]);
    const fresh = await start({}, {}, 'meshMTLS: {cipherSuites: [AES128-SHA]}\n');
    expect(await fresh.both()).toEqual([expect.stringMatching(/^TLSv1.3 /), expect.stringMatching(/^TLSv1.3 /)]);
  });

  it('takes cipher suites of tlsDefaults to servers outside the mesh alone, from the next connection on', async () => {
    const { both, configure } = await start(old, old, `tlsDefaults: {cipherSuites: [${weak}]}\n`);
    expect(await both()).toEqual([`TLSv1.2 ${strong}`, `TLSv1.2 ${weak}`]);
    await configure('tlsDefaults: {cipherSuites: [ECDHE-RSA-AES128-GCM-SHA256]}\n');
    expect(await both()).toEqual([`TLSv1.2 ${strong}`, 'ENMESH_OUTBOUND_CONNECT']);
    await configure(`tlsDefaults: {cipherSuites: [${strong}]}\n`);
    expect(await both()).toEqual([`TLSv1.2 ${strong}`, `TLSv1.2 ${strong}`]);
  });

  it('goes on offering TLS 1.3 beside cipher suites of tlsDefaults, which are of TLS 1.2', async () => {
    const { both } = await start({}, {}, `tlsDefaults: {cipherSuites: [${weak}]}\n`);
    expect(await both()).toEqual([expect.stringMatching(/^TLSv1.3 /), expect.stringMatching(/^TLSv1.3 /)]);
  });

  it('takes curves of tlsDefaults to servers outside the mesh alone', async () => {
    const curve = { ecdhCurve: 'P-384' };
    const { both, configure } = await start(curve, curve, 'tlsDefaults: {ecdhCurves: [P-256, X25519]}\n');
    expect(await both()).toEqual([expect.stringMatching(/^TLSv1.3 /), 'ENMESH_OUTBOUND_CONNECT']);
    await configure('tlsDefaults: {ecdhCurves: [P-384]}\n');
    expect(await both()).toEqual([expect.stringMatching(/^TLSv1.3 /), expect.stringMatching(/^TLSv1.3 /)]);
  });
});
