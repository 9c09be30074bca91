import { describe } from '../../../platform/ask.mjs';

export const strictStep = {
  title: '(3) STRICT for the namespace: plaintext is reset without a byte, the mesh goes on',
  async run({ world, check, note }) {
    note('01-modes.yaml: PERMISSIVE becomes STRICT');
    await world.change((copy) => copy.edit('01-modes.yaml', 'mode: PERMISSIVE', 'mode: STRICT'));
    for (const service of ['product', 'stock', 'gateway']) {
      const from = world.mark(service);
      check({
        asked: `GET / of ${service}, in the clear`,
        got: describe(await world.plain(service, '/')),
        want: 'reset without a byte',
        why: await world.denied(service, { from }),
      });
    }
    const from = world.mark('product');
    const exit = await world.curl(`${world.shop.product.place.address}/products/1`);
    if (exit === undefined) note('curl is not installed here, so it is not asked');
    else
      check({
        asked: `curl ${world.shop.product.place.address}/products/1`,
        got: `exit code ${exit}`,
        want: 'exit code 56',
        why: await world.denied('product', { from }),
      });
    const answer = await world.call('visitor', 'http://gateway.shop.svc.cluster.local/products/1');
    check({
      asked: 'GET /products/1 of the gateway by a process of the mesh; the gateway asks product and stock',
      got: describe(answer),
      want: '200 {"id":"1","name":"Table lamp","quantity":12}',
      why: world.allowed('gateway', answer),
    });
  },
};
