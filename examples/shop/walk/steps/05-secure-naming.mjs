import { describe } from '../../../platform/ask.mjs';

export const secureNamingStep = {
  title: "(5) Secure naming: another service account at product's address gets not a byte of a request",
  async run({ world, check, note }) {
    const { shop } = world;
    const impostor = shop.join('impostor', new URL('../impostor.mjs', import.meta.url), 'test-team');
    const { port, identity } = await impostor.ready;
    note(`${identity} listens at port ${port}, and the registry is made to give that port for product`);
    await readdress(world, { port });
    const from = world.mark('gateway');
    check({
      asked: 'GET /products/1 of the gateway',
      got: describe(await world.plain('gateway', '/products/1')),
      want: '502 {"error":"a service of the shop refused or failed","code":"ENMESH_TLS_SECURE_NAMING"}',
      why: await world.denied('gateway', { from }),
    });
    const before = await impostor.ask({});
    check({
      asked: 'what the impostor recorded',
      got: `${before.connections > 0 ? 'connections' : 'no connection'}, ${before.requests} requests, ${before.requestBytes} bytes of a request`,
      want: 'connections, 0 requests, 0 bytes of a request',
      why: 'the certificate is compared with the expected identities before anything is sent',
    });
    note('to see the recorder work, the registry is made to say that product runs as test-team');
    await readdress(world, { port, serviceAccount: 'test-team' });
    const answer = await world.plain('gateway', '/products/1');
    const after = await impostor.ask({});
    check({
      asked: 'GET /products/1 of the gateway',
      got: `${describe(answer)}, ${after.requests} requests recorded, ${after.requestBytes > 0 ? 'some' : 'no'} bytes`,
      want: '200 {"id":"1","name":"Counterfeit lamp","quantity":12}, 1 requests recorded, some bytes',
      why: world.allowed('gateway', answer),
    });
    note('the registry is put right');
    await readdress(world, { port: shop.product.place.port });
    await impostor.stop();
    check({
      asked: 'GET /products/1 of the gateway',
      got: describe(await world.plain('gateway', '/products/1')),
      want: '200 {"id":"1","name":"Table lamp","quantity":12}',
      why: 'product is where the registry says, as who it should be',
    });
  },
};

/** Has the registry say where product is, and as which service account it runs. */
async function readdress(world, { port, serviceAccount = 'product' }) {
  world.shop.places.set('product', { name: 'product', port, serviceAccount });
  await world.change(() => world.shop.register());
}
