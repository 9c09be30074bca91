import { describe, jsonOf } from '../../../platform/ask.mjs';

export const exceptionStep = {
  title: "(4) An exception: the gateway's public port is DISABLE, all others stay STRICT",
  async run({ world, check, note }) {
    note('04-gateway-port.yaml is added');
    await world.change((copy) => copy.teach('04-gateway-port.yaml'));
    const answer = await world.plain('gateway', '/products/1');
    check({
      asked: 'GET /products/1 of the gateway, in the clear',
      got: describe(answer),
      want: '200 {"id":"1","name":"Table lamp","quantity":12}',
      why: world.allowed('gateway', answer),
    });
    const user = await world.plain('gateway', '/whoami');
    check({
      asked: 'whom product sees when the gateway calls it for that user',
      got: `${user.status}, peer ${jsonOf(user).atProduct?.peer}`,
      want: '200, peer cluster.local/ns/shop/sa/gateway',
      why: world.allowed('gateway', user),
    });
    const from = world.mark('product');
    check({
      asked: 'GET /products/1 of product, in the clear',
      got: describe(await world.plain('product', '/products/1')),
      want: 'reset without a byte',
      why: await world.denied('product', { from }),
    });
  },
};
