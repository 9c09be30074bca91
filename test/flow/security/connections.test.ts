import { createServer as createHttpsServer } from 'node:https';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { deniedEvents, type MeshIdentity, type X509Svid } from '@enmesh/core';
import { badCertificates, createTestAuthority } from '../../../packages/core/src/testing/authority.js';
import {
  bytesOf,
  gatewayOnly,
  istioAlpn,
  openWitness,
  statusesIn,
  transcribe,
  type Transcript,
  type Witness,
} from '../../support/attack.js';
import { createHouse, open, send, sendRaw, type House } from '../../support/house.js';
import { heard } from '../../support/waiting.js';
import { serviceEntry } from '../../support/documents.js';

// Modes, ALPN lists, TLS versions and ciphers of the server alone: packages/core/src/tls/server.test.ts.
// Redirects, host headers and proxies of calls: packages/core/src/outbound/outbound.test.ts.
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
    houses[mode] = await createHouse(gatewayOnly(mode));
    witnesses[mode] = await openWitness(house(mode).mesh);
  }
});
afterAll(async () => {
  for (const mode of modes) await house(mode).close();
  transcript.stop();
});

const get = 'GET / HTTP/1.1\r\nHost: product\r\nConnection: close\r\n\r\n';

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
    const socket = connectTls({
      port: witness(mode).port,
      host: '127.0.0.1',
      ALPNProtocols: [...istioAlpn],
      rejectUnauthorized: false,
    });
    expect(await bytesOf(socket, get)).toBe('');
    expect(reachedAnywhere()).toBe(before);
  });

  it.each(['TLSv1.2', 'TLSv1.3'] as const)('a session of the gateway makes no gateway of another, over %s', async (version) => {
    const { authority } = house(mode);
    const options = {
      port: witness(mode).port,
      host: '127.0.0.1',
      ca: authority.rootPem,
      ALPNProtocols: [...istioAlpn],
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
      const shaken = heard(second, 'secureConnect').then(() => second.isSessionReused());
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
    await house('STRICT').write('services.yaml', serviceEntry({ name: 'stock', port }));
    for (let i = 0; i < 4; i++) {
      const { body } = await house('STRICT').mesh.request('http://stock.shop.svc.cluster.local/');
      expect(await body.text()).toBe('ok');
    }
    expect(reused).toEqual([false, false, false, false]);
    server.close();
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
    const wide = await createHouse(gatewayOnly('PERMISSIVE'), { permissiveAnyAlpn: true });
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
    await own.write('services.yaml', serviceEntry({ name: 'stock', port }));
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
      `${serviceEntry({ name: 'stock', port: 1 }).replace(', serviceAccount: stock', '')}
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
