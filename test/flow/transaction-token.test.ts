import { createServer, get } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Mesh } from '@enmesh/core';
import { createChain, type Chain } from '../support/hop-chain.js';
import { open, send, type Answer } from '../support/house.js';

const rule = (name: string): string => `
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: ${name}, namespace: shop}
spec:
  selector: {matchLabels: {app: ${name}}}
  jwtRules: [{issuer: ISSUER, jwks: 'JWKS', audiences: [cluster.local], fromHeaders: [{name: Txn-Token}, {name: Authorization, prefix: 'Bearer '}]}]
`;
const modes = `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: modes, namespace: shop}
spec: {mtls: {mode: PERMISSIVE}}
`;
const none = `
apiVersion: enmesh.dev/v1
kind: TokenPropagation
metadata: {name: product, namespace: shop}
spec: {selector: {matchLabels: {app: product}}, outbound: [{hosts: [stock], mode: NONE}]}
`;
const documents = ['gateway', 'product', 'stock'].map(rule).concat(modes);
const claims = { sub: 'alice', aud: 'cluster.local', txn: 't-1', scope: 'pay', req_wl: 'apigateway' };
const header = { typ: 'txntoken+jwt' };

const clients: Readonly<Record<string, (mesh: Mesh, url: string, headers?: Record<string, string>) => Promise<void>>> = {
  fetch: async (mesh, url, headers = {}) => void (await (await mesh.fetch(url, { headers })).text()),
  request: async (mesh, url, headers = {}) => void (await (await mesh.request(url, { headers })).body.dump()),
  agent: (mesh, url, headers = {}) =>
    new Promise((done, fail) => {
      const request = get(url, { agent: mesh.agent, headers });
      request.on('error', fail).on('response', (answer) => void answer.resume().on('end', done));
    }),
};

describe('a transaction token', () => {
  let chain: Chain;
  const seen = new Map<string, { token: string | undefined; user: unknown }>();
  let act: (mesh: Mesh, url: string) => Promise<void>;
  beforeAll(async () => {
    chain = await createChain({ services: ['gateway', 'product', 'stock'], yaml: documents.join('---') });
    const next = { gateway: 'product', product: 'stock' } as const;
    for (const name of ['gateway', 'product', 'stock'] as const)
      chain.of(name).handle = async (request, response) => {
        // What stood on the wire: the door takes it out, as it does with every token.
        seen.set(name, { token: request.headers['txn-token'] as string | undefined, user: request.enmesh?.user?.claims });
        if (name !== 'stock') await act(chain.of(name).mesh, chain.of(next[name]).url);
        response.end();
      };
  });
  afterAll(() => chain?.close());

  const ask = async (name: string, token: string): Promise<Answer> => {
    seen.clear();
    return send({ port: chain.of('gateway').port }, 'GET', '/', [[name, token]]);
  };

  it.each(Object.keys(clients))('goes on unchanged through every service of the chain, by %s', async (client) => {
    act = (mesh, url) => clients[client]!(mesh, url);
    const token = await chain.issuer.sign(claims, { header });
    expect(await ask('Txn-Token', token)).toMatchObject({ status: 200 });
    for (const name of ['gateway', 'product', 'stock'])
      expect(seen.get(name)?.user, name).toMatchObject({ ...claims, scope: ['pay'] });
  });

  it.each(Object.keys(clients))('takes the place of one that the application sets, by %s', async (client) => {
    const other = await chain.issuer.sign({ ...claims, sub: 'mallory' }, { header });
    act = (mesh, url) => clients[client]!(mesh, url, { 'Txn-Token': other });
    expect(await ask('Txn-Token', await chain.issuer.sign(claims, { header }))).toMatchObject({ status: 200 });
    expect(seen.get('stock')?.user).toMatchObject({ sub: 'alice' });
  });

  it.each([
    ['an ordinary token', claims, {}, 'Authorization', 'Bearer '],
    ['an ordinary token in its header', claims, {}, 'Txn-Token', ''],
    ['one of an older draft', claims, { typ: 'txn_token' }, 'Txn-Token', ''],
    ['one without req_wl', { ...claims, req_wl: undefined }, header, 'Txn-Token', ''],
    ['one for two trust domains', { ...claims, aud: ['cluster.local', 'other'] }, header, 'Txn-Token', ''],
  ])('is not %s: that stops at the first service', async (_, body, names, name, prefix) => {
    act = (mesh, url) => clients['fetch']!(mesh, url);
    expect(await ask(name, `${prefix}${await chain.issuer.sign(body, { header: names })}`)).toMatchObject({ status: 200 });
    expect(seen.get('gateway')?.user).toMatchObject({ sub: 'alice' });
    expect(seen.get('product')).toEqual({ token: undefined, user: undefined });
  });

  it('stops where a TokenPropagation says NONE, and never leaves the mesh', async () => {
    await chain.write([...documents, none].join('---'));
    act = (mesh, url) => clients['fetch']!(mesh, url);
    const token = await chain.issuer.sign(claims, { header });
    expect(await ask('Txn-Token', token)).toMatchObject({ status: 200 });
    expect(seen.get('product')?.user).toMatchObject({ sub: 'alice' });
    expect(seen.get('stock')?.user).toBeUndefined();
    let lines: readonly string[] = [];
    const outside = createServer((request, response) => {
      lines = request.rawHeaders;
      response.end();
    });
    const port = await open(outside);
    act = (mesh) => clients['fetch']!(mesh, `http://127.0.0.1:${port}/`);
    expect(await ask('Txn-Token', token)).toMatchObject({ status: 200 });
    expect(lines.join('\n')).not.toContain(token);
    outside.closeAllConnections();
    outside.close();
  });
});
