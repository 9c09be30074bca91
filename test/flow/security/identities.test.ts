import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { X509Svid } from '@enmesh/core';
import { gatewayOnly, openWitness, type Witness } from '../../support/attack.js';
import { connect, createHouse, send, sendRaw, type House } from '../../support/house.js';
import { closed, heard } from '../../support/waiting.js';

// Chains, bundles and hostile certificates: packages/core/src/x509, test/conformance/x509-*.test.ts.
let house: House;
let witness: Witness;
beforeAll(async () => {
  house = await createHouse(gatewayOnly('STRICT'));
  witness = await openWitness(house.mesh);
});
afterAll(() => house.close());

const get = 'GET / HTTP/1.1\r\nHost: product\r\nConnection: close\r\n\r\n';

describe('rule 2: an identity is one URI that the authority signed', () => {
  it.each([
    'spiffe://cluster.local/ns/shop/sa/gateway/',
    'spiffe://cluster.local/ns/shop//sa/gateway',
    'spiffe://cluster.local/ns/shop/sa/gateway?x',
    'spiffe://cluster.local/ns/shop/sa/gateway#x',
    'spiffe://cluster.local/ns/shop/../shop/sa/gateway',
    'spiffe://cluster.local/ns/shop/sa/%67ateway',
    'spiffe://cluster.local:443/ns/shop/sa/gateway',
    'spiffe://user@cluster.local/ns/shop/sa/gateway',
    'spiffe://CLUSTER.local/ns/shop/sa/gateway',
    'SPIFFE://cluster.local/ns/shop/sa/gateway',
    'https://cluster.local/ns/shop/sa/gateway',
    'spiffe://other.example/ns/shop/sa/gateway',
  ])('%j is nobody', async (uri) => {
    const before = witness.reached.length;
    const as = (await house.authority.issueUri(uri)) as unknown as X509Svid;
    const answer = await sendRaw({ port: witness.port, as, roots: [house.authority.rootPem] }, get);
    expect(answer.bytes).toBe('');
    expect(witness.reached.length).toBe(before);
  });

  it.each([
    'spiffe://cluster.local/ns/shop/sa/gateway2',
    'spiffe://cluster.local/ns/shop/sa/gatewa',
    'spiffe://cluster.local/ns/shop/sa/Gateway',
    'spiffe://cluster.local/ns/shop2/sa/gateway',
    'spiffe://cluster.local/x/ns/shop/sa/gateway',
    'spiffe://cluster.local/ns/shop/sa/gateway/x',
    'spiffe://cluster.local/gateway',
  ])('%j is somebody else, and no gateway', async (uri) => {
    const as = (await house.authority.issueUri(uri)) as unknown as X509Svid;
    expect((await send({ port: witness.port, as, roots: [house.authority.rootPem] }, 'GET', '/')).status).toBe(403);
  });

  it('a certificate that ends while its connection is open is nobody from then on', async () => {
    let now = Date.now();
    const one = await createHouse(gatewayOnly('STRICT'), { clock: () => now });
    const { port, reached } = await openWitness(one.mesh);
    const as = await one.authority.issue({ namespace: 'shop', serviceAccount: 'gateway', notAfter: now + 60_000 });
    const socket = connect({ port, as, roots: [one.authority.rootPem] });
    socket.on('error', () => {});
    socket.write('GET /1 HTTP/1.1\r\nHost: a\r\n\r\n');
    await heard(socket, 'data');
    now += 61_000;
    socket.write('GET /2 HTTP/1.1\r\nHost: a\r\n\r\n');
    await closed(socket);
    expect(reached.map(({ url }) => url)).toEqual(['/1']);
    await one.close();
  });
});
