import { get } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { createMesh } from '@enmesh/core';
import { connect, createHouse, open, send, type House } from '../support/house.js';

const mode = (name: string): string => `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: ${name}}}
`;
const allow = (principal: string): string => `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: callers, namespace: shop}
spec: {rules: [{from: [{source: {principals: ["cluster.local/ns/shop/sa/${principal}"]}}]}]}
`;

const houses: House[] = [];
const house = async (policies: string, options = {}): Promise<House> => {
  const one = await createHouse(policies, options);
  houses.push(one);
  return one;
};
afterEach(() => Promise.all(houses.splice(0).map((one) => one.close())));

const status = (port: number, path: string): Promise<number> =>
  new Promise((done, fail) => {
    get({ port, path, host: '127.0.0.1', agent: false }, (response) => {
      response.resume();
      done(response.statusCode ?? 0);
    }).on('error', fail);
  });

describe('a running mesh', () => {
  it('obeys an edited policy with the next request, on connections that were open before', async () => {
    const one = await house(`${mode('STRICT')}---${allow('gateway')}`);
    const port = await open(one.mesh.createServer((_request, response) => response.end('ok')));
    const socket = connect({ port, as: await one.svid('gateway'), roots: [one.authority.rootPem] });
    const ask = (): Promise<string> =>
      new Promise((done) => {
        socket.once('data', (chunk: Buffer) => done(chunk.toString('latin1').slice(9, 12)));
        socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
      });
    expect(await ask()).toBe('200');
    await one.write('policies.yaml', `${mode('STRICT')}---${allow('somebody-else')}`);
    expect(await ask()).toBe('403');
    await one.write('policies.yaml', `${mode('STRICT')}---${allow('gateway')}`);
    expect(await ask()).toBe('200');
    socket.destroy();
  });

  it('keeps the last good policies when an edit is broken, and refuses what they refuse', async () => {
    const one = await house(`${mode('PERMISSIVE')}---${allow('gateway')}`);
    const port = await open(one.mesh.createServer((_request, response) => response.end('ok')));
    await one.write('policies.yaml', `${mode('PERMISSIVE')}---${allow('gateway')}`.replace('rules:', 'rulez:'));
    expect((await send({ port }, 'GET', '/')).status).toBe(403);
    expect((await send({ port, as: await one.svid('gateway'), roots: [one.authority.rootPem] }, 'GET', '/')).status).toBe(200);
  });

  it('changes the mode of an open server: an open plaintext connection ends when the port becomes STRICT', async () => {
    const one = await house(mode('PERMISSIVE'));
    const port = await open(one.mesh.createServer((_request, response) => response.end('ok')));
    const socket = connect({ port });
    const first = await new Promise<string>((done) => {
      socket.once('data', (chunk: Buffer) => done(chunk.toString('latin1')));
      socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    });
    expect(first).toContain('200 OK');
    const more: string[] = [];
    socket.on('data', (chunk: Buffer) => more.push(chunk.toString('latin1'))).on('error', () => {});
    const closed = new Promise((done) => socket.once('close', done));
    await one.write('policies.yaml', mode('STRICT'));
    socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    await closed;
    expect(more).toEqual([]);
    expect(await send({ port }, 'GET', '/')).toMatchObject({ bytes: '', ended: 'ECONNRESET' });
  });

  it('answers nothing but health on the probe port, from the state of the mesh', async () => {
    const one = await house(mode('STRICT'));
    const server = one.mesh.createServer((_request, response) => response.end('application'), { probePort: 0 });
    await open(server);
    const { probe } = server;
    await new Promise((done) => setImmediate(done));
    const { port } = probe?.address() as AddressInfo;
    expect([
      await status(port, '/livez'),
      await status(port, '/readyz'),
      await status(port, '/'),
      await status(port, '/products/1'),
    ]).toEqual([200, 200, 404, 404]);
  });

  it('speaks of the workload port where the listening port is another', async () => {
    const one = await house(`${mode('STRICT')}---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: product, namespace: shop}
spec: {selector: {matchLabels: {app: product}}, portLevelMtls: {"9080": {mode: DISABLE}}}
`);
    const open_ = await open(one.mesh.createServer((_request, response) => response.end('in the clear'), { workloadPort: 9080 }));
    const strict = await open(one.mesh.createServer((_request, response) => response.end('never'), { workloadPort: 9081 }));
    expect((await send({ port: open_ }, 'GET', '/')).body).toBe('in the clear');
    expect((await send({ port: strict }, 'GET', '/')).ended).toBe('ECONNRESET');
  });

  it('finishes what is in flight when it closes, takes no new connection, and ends', async () => {
    const one = await createHouse(mode('PERMISSIVE'));
    let finish: (() => void) | undefined;
    const entered = new Promise<void>((reached) => {
      const server = one.mesh.createServer((_request, response) => {
        finish = () => response.end('finished');
        reached();
      });
      void open(server).then((port) => (flight = send({ port }, 'GET', '/', [['Connection', 'keep-alive']])));
    });
    let flight: ReturnType<typeof send> | undefined;
    await entered;
    const closed = one.close();
    await new Promise((done) => setTimeout(done, 50));
    finish?.();
    const answer = await flight;
    expect(answer).toMatchObject({ status: 200, body: 'finished' });
    expect(answer?.headers['connection']).toBe('close');
    await closed;
  });

  it('decides from values alone with mesh.evaluate', async () => {
    const one = await house(allow('gateway'));
    const base = {
      method: 'GET',
      path: '/',
      pathSpellings: [],
      pathIgnoresCase: false,
      host: 'a',
      sourceIp: '10.0.0.1',
      remoteIp: '10.0.0.1',
      destinationIp: '10.0.0.2',
    };
    const decision = one.mesh.evaluate({
      ...base,
      destinationPort: 80,
      sni: '',
      peer: undefined,
      user: undefined,
      header: () => undefined,
    });
    expect(decision).toMatchObject({ allowed: false, reason: 'no-allow-matched' });
  });
});

describe('a mesh that cannot start', () => {
  it('says which namespace setting is missing', async () => {
    await expect(createMesh({ env: {}, config: '/nowhere', log: false })).rejects.toMatchObject({
      code: 'ENMESH_CONFIG_NAMESPACE_MISSING',
    });
  });

  it('does not start open without a configuration directory', async () => {
    await expect(createMesh({ env: {}, namespace: 'shop', log: false })).rejects.toMatchObject({
      code: 'ENMESH_CONFIG_DIRECTORY_MISSING',
    });
  });

  it('refuses server options that belong to the mesh', async () => {
    const one = await house(mode('STRICT'));
    expect(() => one.mesh.createServer(() => {}, { http: { rejectUnauthorized: false } })).toThrow(TypeError);
  });
});
