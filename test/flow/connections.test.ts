import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { deniedEvents, type DeniedEvent, type MeshIdentity, type TrustBundleSet } from '@enmesh/core';
import { createTestAuthority } from '@enmesh/core/testing';
import { connect, createHouse, open, send, type House } from '../support/house.js';
import { closed, heard } from '../support/waiting.js';

const strict = `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
`;

let house: House | undefined;
let denied: DeniedEvent[];
let stop: () => void;
beforeEach(() => {
  denied = [];
  stop = deniedEvents.subscribe((event) => denied.push(event));
});
afterEach(async () => {
  stop();
  await house?.close();
  house = undefined;
});

const served = (one: House): Promise<number> => open(one.mesh.createServer((_request, response) => response.end('ok')));
const codes = (): string[] => denied.map(({ code }) => code);

describe('meshMTLS of mesh.yaml', () => {
  it('decides which versions and cipher suites a server takes, from the next handshake on', async () => {
    const one = (house = await createHouse(strict));
    mkdirSync(join(one.directory, 'enmesh'));
    const port = await served(one);
    const { chain: cert, privateKey } = await one.svid('gateway');
    const key = privateKey.export({ type: 'pkcs8', format: 'pem' });
    const agree = async (options: ConnectionOptions): Promise<string> => {
      const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false, cert, key, ...options });
      try {
        await heard(socket, 'secureConnect');
        return socket.getProtocol() === 'TLSv1.3' ? 'TLSv1.3' : socket.getCipher().name;
      } catch {
        return 'none';
      } finally {
        socket.destroy();
      }
    };
    const old: ConnectionOptions = { maxVersion: 'TLSv1.2' };
    // Istio's first suite that fits a key of ECDSA.
    expect(await agree(old)).toBe('ECDHE-ECDSA-AES256-GCM-SHA384');
    await one.write('enmesh/mesh.yaml', 'meshMTLS: {cipherSuites: [ECDHE-ECDSA-AES128-GCM-SHA256]}\n');
    expect(await agree(old)).toBe('ECDHE-ECDSA-AES128-GCM-SHA256');
    expect(await agree({ ...old, ciphers: 'ECDHE-ECDSA-AES256-GCM-SHA384' })).toBe('none');
    await one.write('enmesh/mesh.yaml', 'meshMTLS: {minProtocolVersion: TLSV1_3}\n');
    expect([await agree(old), await agree({})]).toEqual(['none', 'TLSv1.3']);
    await one.write('enmesh/mesh.yaml', '{}\n');
    expect(await agree(old)).toBe('ECDHE-ECDSA-AES256-GCM-SHA384');
  });
});

describe('a bundle that loses a root', () => {
  it('ends the connections of its peers, and the request that comes before that is refused by the door', async () => {
    const first = await createTestAuthority();
    const second = await createTestAuthority();
    let bundles: TrustBundleSet = first.bundles;
    const identity: MeshIdentity = {
      svid: { current: () => svid, watch: () => () => {} },
      bundles: {
        current: () => bundles,
        watch(onChange) {
          change = (next) => onChange((bundles = next));
          return () => {};
        },
      },
    };
    let change: (next: TrustBundleSet) => void = () => {};
    const svid = await first.issue({ namespace: 'shop', serviceAccount: 'product' });
    const one = (house = await createHouse(strict, { identity }));
    let handled = 0;
    const server = one.mesh.createServer((_request, response) => {
      handled += 1;
      response.end('ok');
    });
    const port = await open(server);
    const socket = connect({
      port,
      as: await first.issue({ namespace: 'shop', serviceAccount: 'gateway' }),
      roots: [first.rootPem],
    });
    socket.on('error', () => {});
    const request = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';
    socket.write(request);
    await heard(socket, 'data');
    // A request that is being read in the very turn in which the bundle changes.
    const emit = server.emit.bind(server) as (event: string, ...args: unknown[]) => boolean;
    server.emit = (event: string, ...args: unknown[]) => {
      if (event === 'request') change(second.bundles);
      return emit(event, ...args);
    };
    const gone = closed(socket);
    socket.write(request);
    await gone;
    expect(handled).toBe(1);
    expect(codes()).toEqual(['ENMESH_X509_UNTRUSTED']);
    expect(denied[0]).toMatchObject({ step: 'peer-identity', peer: 'spiffe://cluster.local/ns/shop/sa/gateway' });
  });
});

describe('a clock that jumps', () => {
  it.each([
    ['an hour and a half on', 90 * 60_000],
    ['ten years on', 10 * 365 * 24 * 3_600_000],
  ])('%s lets nothing that has expired go on, and takes nobody in', async (_title, ms) => {
    let jump = 0;
    const one = (house = await createHouse(strict, { clock: () => Date.now() + jump }));
    const port = await served(one);
    const as = await one.svid('gateway');
    const options = { port, as, roots: [one.authority.rootPem] };
    const socket = connect(options);
    socket.on('error', () => {});
    socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    await heard(socket, 'data');
    jump = ms;
    const gone = closed(socket);
    socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    await gone;
    expect((await send(options, 'GET', '/')).bytes).toBe('');
    expect(codes()).toEqual(['ENMESH_INBOUND_PEER_EXPIRED', 'ENMESH_IDENTITY_NONE']);
    jump = 0;
    expect((await send(options, 'GET', '/')).status).toBe(200);
  });

  it('back before their beginning takes no certificate', async () => {
    let jump = 0;
    const one = (house = await createHouse(strict, { clock: () => Date.now() + jump }));
    const port = await served(one);
    jump = -3_600_000;
    const answer = await send({ port, as: await one.svid('gateway'), roots: [one.authority.rootPem] }, 'GET', '/');
    expect(answer.bytes).toBe('');
    expect(codes()).toHaveLength(1);
  });
});
