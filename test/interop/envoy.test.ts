import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { open } from '../support/house.js';
import { startRealServer, type RealServer } from '../support/real-server.js';
import { createChainAuthority, writeMaterial, type ChainAuthority, type MaterialFiles } from './support/authority.js';
import { envoyBootstrap, type InboundListener, type OutboundCluster } from './support/envoy-config.js';
import { peerAuthentication } from '../support/documents.js';
import { callService, createParty, entryYaml, federationYaml, openEcho, type Party } from './support/party.js';
import { freePort } from './support/programs.js';

const sni = 'outbound_.80_._.product.shop.svc.cluster.local';
const id = (serviceAccount: string, trustDomain = 'cluster.local'): string =>
  `spiffe://${trustDomain}/ns/shop/sa/${serviceAccount}`;
/** What Istio's alpn filter puts before an HTTP/1.1 request, and the list of a cluster whose protocol is not HTTP. */
const httpAlpn = ['istio-http/1.1', 'istio', 'http/1.1'];
const tcpAlpn = ['istio-peer-exchange', 'istio'];

const body = 'a line of a body, longer than a TLS record when it is said often enough\n'.repeat(4000);

interface EnvoyReady {
  readonly version: string;
  readonly admin: string;
}

// Without a configuration the start script says only whether there is an Envoy.
const probe = await startRealServer<EnvoyReady>('envoy');
await probe?.stop();

describe.skipIf(probe === undefined)(`Envoy ${probe?.ready.version} with the filter chains of Istio`, () => {
  let directory = '';
  const parties: Party[] = [];
  const application = createServer((request, response) => {
    if (request.method === 'GET') response.end(String(request.headers['x-forwarded-client-cert'] ?? 'stranger'));
    else request.pipe(response);
  });
  let authority: ChainAuthority;
  let product: Party;
  let gateway: Party;
  let foreigner: Party;
  let anyAlpn: Party;
  let partnered: Party;
  let outboundPort = 0;
  const ports: Record<string, number> = {};
  const clusterNames: string[] = [];
  let envoy: RealServer<EnvoyReady> | undefined;

  const party = async (...args: Parameters<typeof createParty>): Promise<Party> => {
    const made = await createParty(...args);
    parties.push(made);
    return made;
  };

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'enmesh-envoy-'));
    authority = await createChainAuthority();
    const foreign = await createChainAuthority('foreign.example', { isFlat: true });
    const file = async (name: string, by: ChainAuthority, serviceAccount: string, keyType?: 'rsa'): Promise<MaterialFiles> => {
      const request = { serviceAccount, ...(keyType === undefined ? {} : { keyType }) };
      return writeMaterial(join(directory, name), await by.issue(request), authority.rootPem);
    };
    const files = {
      gateway: await file('gateway', authority, 'gateway'),
      product: await file('product', authority, 'product'),
      other: await file('other', authority, 'other'),
      foreignClient: await file('foreign-client', foreign, 'gateway'),
      foreignServer: await file('foreign-server', foreign, 'product'),
      rsaClient: await file('rsa-client', authority, 'gateway', 'rsa'),
      rsaServer: await file('rsa-server', authority, 'product', 'rsa'),
    };

    product = await party({
      serviceAccount: 'product',
      identity: await authority.identity({ serviceAccount: 'product' }),
      documents: peerAuthentication('STRICT'),
    });
    anyAlpn = await party({
      serviceAccount: 'product',
      identity: await authority.identity({ serviceAccount: 'product' }),
      documents: peerAuthentication('PERMISSIVE'),
      permissiveAnyAlpn: true,
    });
    const rsa = await party({
      serviceAccount: 'product',
      identity: await authority.identity({ serviceAccount: 'product', keyType: 'rsa' }),
      documents: peerAuthentication('STRICT'),
      meshConfig: federationYaml(foreign),
    });
    const named = async (prefix: string, one: Party): Promise<OutboundCluster[]> =>
      clustersOf(await openEcho(one), files).map((cluster) => ({ ...cluster, name: `${prefix} ${cluster.name}` }));
    const clusters = [
      ...clustersOf(await openEcho(product), files),
      ...(await named('any-alpn', anyAlpn)),
      ...(await named('federated rsa', rsa)),
    ];
    clusterNames.push(...clusters.map(({ name }) => name));
    const inbound = await inboundOf(files);
    outboundPort = await freePort();
    const config = join(directory, 'bootstrap.json');
    writeFileSync(
      config,
      JSON.stringify(
        envoyBootstrap({ inbound: Object.values(inbound), clusters, outboundPort, applicationPort: await open(application) }),
      ),
    );
    for (const [name, { port }] of Object.entries(inbound)) ports[name] = port;
    envoy = await startRealServer<EnvoyReady>('envoy', { ENVOY_CONFIG: config });

    const documents = Object.entries(ports)
      .map(([name, port]) => entryYaml(name, port) + entryYaml(`plain-${name}`, port) + plaintextYaml(`plain-${name}`))
      .join('');
    gateway = await party({
      serviceAccount: 'gateway',
      identity: await authority.identity({ serviceAccount: 'gateway' }),
      documents,
    });
    partnered = await party({
      serviceAccount: 'gateway',
      identity: await authority.identity({ serviceAccount: 'gateway', keyType: 'rsa' }),
      documents: documents.replaceAll('subjectAltNames: []', `subjectAltNames: ["${id('product', 'foreign.example')}"]`),
      meshConfig: federationYaml(foreign),
    });
    foreigner = await party({
      serviceAccount: 'gateway',
      identity: await foreign.identity({ serviceAccount: 'gateway' }, [authority]),
      documents,
      meshConfig: 'trustDomain: foreign.example\ntrustDomainAliases: [cluster.local]\n',
    });
  });
  afterAll(async () => {
    for (const one of parties) await one.close();
    await envoy?.stop();
    application.close();
    if (directory !== '') rmSync(directory, { recursive: true, force: true });
  });

  const throughEnvoy = async (cluster: string, body?: string): Promise<string> => {
    expect(clusterNames).toContain(cluster);
    const content = body === undefined ? {} : { method: 'POST', body };
    const response = await fetch(`http://127.0.0.1:${outboundPort}/`, { headers: { 'x-cluster': cluster }, ...content });
    // Envoy tells why a connection upstream failed in the body of its 503, in words of its TLS library.
    return response.status === 200 ? await response.text() : String(response.status);
  };
  const caller = id('gateway');

  describe('calls us', () => {
    it.each([
      ['http', caller, caller],
      ['tcp', caller, caller],
      ['tls 1.2', caller, caller],
      ['tls 1.3', caller, caller],
      ['http/1.1 alone', caller, '503'],
      ['no alpn', caller, '503'],
      ['rsa', caller, caller],
      ['rsa, tls 1.2', caller, caller],
      ['h2 alone', '503', '503'],
      ['no certificate', '503', '503'],
      ['foreign trust domain', '503', '503'],
      ['other identity expected', '503', '503'],
      ['plaintext', '503', 'stranger'],
    ])('with %s: STRICT gives %s, PERMISSIVE %s', async (cluster, strict, permissive) => {
      await product.write(peerAuthentication('STRICT'));
      expect(await throughEnvoy(cluster)).toBe(strict);
      await product.write(peerAuthentication('PERMISSIVE'));
      expect(await throughEnvoy(cluster)).toBe(permissive);
    });

    it('in the clear only on a port with DISABLE', async () => {
      await product.write(peerAuthentication('DISABLE'));
      expect([await throughEnvoy('plaintext'), await throughEnvoy('http')]).toEqual(['stranger', '503']);
    });

    it('without an ALPN name of Istio on a PERMISSIVE port that takes any, never without a certificate of the mesh', async () => {
      expect(await throughEnvoy('any-alpn http/1.1 alone')).toBe(caller);
      expect(await throughEnvoy('any-alpn no alpn')).toBe(caller);
      expect(await throughEnvoy('any-alpn no certificate')).toBe('503');
      expect(await throughEnvoy('any-alpn foreign trust domain')).toBe('503');
    });

    it('with keys of RSA on both sides, and as a workload of a trust domain that is federated', async () => {
      expect(await throughEnvoy('federated rsa rsa, tls 1.2')).toBe(caller);
      expect(await throughEnvoy('federated rsa http')).toBe(caller);
      expect(await throughEnvoy('federated rsa foreign trust domain')).toBe(id('gateway', 'foreign.example'));
    });

    it('over kept connections with bodies both ways', async () => {
      await product.write(peerAuthentication('STRICT'));
      for (let i = 0; i < 20; i++) expect((await throughEnvoy('kept', body)) === body).toBe(true);
    });

    it('and obeys a policy that names it', async () => {
      const only = (principal: string): string => `${peerAuthentication('STRICT')}---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: callers, namespace: shop}
spec: {rules: [{from: [{source: {principals: ["${principal}"]}}]}]}
`;
      await product.write(only('cluster.local/ns/shop/sa/gateway'));
      expect(await throughEnvoy('http')).toBe(caller);
      await product.write(only('cluster.local/ns/shop/sa/other'));
      expect(await throughEnvoy('http')).toBe('403');
    });
  });

  describe('is called by us', () => {
    /** What Envoy counted at a listener: certificates that its roots do not sign. */
    const failedVerifications = async (name: string): Promise<number> => {
      const stats = await fetch(`${envoy?.ready.admin}/stats?filter=${ports[name]}.ssl.fail_verify_error`);
      return Number(/fail_verify_error: (?<count>\d+)/.exec(await stats.text())?.groups?.['count']);
    };
    const seen = (answer: string): string => /URI=(?<uri>[^;]*)/.exec(answer)?.groups?.['uri'] ?? answer;

    it.each([
      ['strict', `URI of ${caller}`],
      ['permissive', `URI of ${caller}`],
      ['exchange', `URI of ${caller}`],
      ['tls12', `URI of ${caller}`],
      ['tls13', `URI of ${caller}`],
      ['rsa', `URI of ${caller}`],
      ['wrong', 'ENMESH_TLS_SECURE_NAMING'],
      ['foreign', 'ENMESH_TLS_SERVER_UNVERIFIED'],
      ['cleartext', 'ENMESH_OUTBOUND_CONNECT'],
    ])('%s: %s', async (name, expected) => {
      const answer = await callService(gateway, name);
      expect(answer.startsWith('200 ') ? `URI of ${seen(answer)}` : answer).toBe(expected);
    });

    it('takes our key of RSA, and is taken as a workload of a trust domain that is federated', async () => {
      for (const name of ['strict', 'rsa', 'foreign']) expect(seen(await callService(partnered, name))).toBe(caller);
      expect(await callService(partnered, 'wrong')).toBe('ENMESH_TLS_SECURE_NAMING');
    });

    it('takes bodies and gives them back', async () => {
      for (let i = 0; i < 20; i++) {
        const answer = await gateway.mesh.request('http://strict.shop.svc.cluster.local/', { method: 'POST', body });
        expect((await answer.body.text()) === body).toBe(true);
      }
    });

    it('is told by whom for whom, as one sidecar tells the next', async () => {
      expect(await callService(gateway, 'strict')).toMatch(
        /^200 By=spiffe:\/\/cluster\.local\/ns\/shop\/sa\/product;Hash=[0-9a-f]{64};Subject="";URI=spiffe:\/\/cluster\.local\/ns\/shop\/sa\/gateway$/,
      );
    });

    it('takes plaintext where it is PERMISSIVE or DISABLE and a DestinationRule says so', async () => {
      expect(await callService(gateway, 'plain-permissive')).toBe('200 stranger');
      expect(await callService(gateway, 'plain-cleartext')).toBe('200 stranger');
      expect(await callService(gateway, 'plain-strict')).toBe('ECONNRESET');
    });

    it('refuses us where we are of a trust domain that is not the mesh’s', async () => {
      for (const name of ['strict', 'permissive']) {
        const before = await failedVerifications(name);
        // With TLS 1.3 we learn of it only when we have sent: as an alert, or as an end of the connection.
        expect(await callService(foreigner, name)).not.toMatch(/^\d/);
        expect(await failedVerifications(name)).toBeGreaterThan(before);
      }
      expect(await callService(foreigner, 'plain-permissive')).toBe('200 stranger');
    });
  });

  async function inboundOf(
    files: Record<'product' | 'other' | 'foreignServer' | 'rsaServer', MaterialFiles>,
  ): Promise<Record<string, InboundListener>> {
    const make = async (o: Partial<InboundListener> = {}): Promise<InboundListener> => ({
      port: await freePort(),
      mode: 'STRICT',
      files: files.product,
      trustDomains: ['cluster.local'],
      ...o,
    });
    return {
      strict: await make(),
      permissive: await make({ mode: 'PERMISSIVE' }),
      exchange: await make({ mode: 'PERMISSIVE', isPeerExchange: true }),
      tls12: await make({ only: 'TLSv1_2' }),
      tls13: await make({ only: 'TLSv1_3' }),
      wrong: await make({ files: files.other }),
      foreign: await make({ files: files.foreignServer }),
      rsa: await make({ files: files.rsaServer, only: 'TLSv1_2' }),
      cleartext: await make({ mode: 'DISABLE' }),
    };
  }

  function clustersOf(port: number, files: Record<'gateway' | 'foreignClient' | 'rsaClient', MaterialFiles>): OutboundCluster[] {
    const base = { files: files.gateway, roots: files.gateway.roots, expected: [id('product')], alpn: httpAlpn, sni };
    const { files: _none, ...anonymous } = base;
    const tls: Record<string, OutboundCluster['tls']> = {
      http: base,
      tcp: { ...base, alpn: tcpAlpn },
      'tls 1.2': { ...base, only: 'TLSv1_2' },
      'tls 1.3': { ...base, only: 'TLSv1_3' },
      'http/1.1 alone': { ...base, alpn: ['http/1.1'] },
      'no alpn': { ...base, alpn: [] },
      'h2 alone': { ...base, alpn: ['h2'] },
      'no certificate': anonymous,
      'foreign trust domain': { ...base, files: files.foreignClient },
      'other identity expected': { ...base, expected: [id('other')] },
      rsa: { ...base, files: files.rsaClient },
      'rsa, tls 1.2': { ...base, files: files.rsaClient, only: 'TLSv1_2' },
    };
    const kept = { name: 'kept', port, tls: base, isKept: true };
    return [{ name: 'plaintext', port }, kept, ...Object.entries(tls).map(([name, one]) => ({ name, port, tls: one! }))];
  }
});

const plaintextYaml = (name: string): string => `
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: ${name}, namespace: shop}
spec:
  host: ${name}.shop.svc.cluster.local
  trafficPolicy: {tls: {mode: DISABLE}}
`;
