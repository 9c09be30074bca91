import { describe, jsonOf } from '../../../platform/ask.mjs';

export const openStep = {
  title: '(1) All modes open: the shop works in the clear',
  async run({ world, check }) {
    const atGateway = await world.plain('gateway', '/products/1');
    check({
      asked: 'GET /products/1 of the gateway, which asks product and stock',
      got: describe(atGateway),
      want: '200 {"id":"1","name":"Table lamp","quantity":12}',
      why: world.allowed('gateway', atGateway),
    });
    const atProduct = await world.plain('product', '/debug/call');
    check({
      asked: 'who called, as product sees a call in the clear',
      got: JSON.stringify(jsonOf(atProduct).peer),
      want: 'null',
      why: 'plaintext proves no identity',
    });
    const missing = await world.plain('gateway', '/products/2');
    check({
      asked: 'GET /products/2, which product has and stock has not',
      got: describe(missing),
      want: '404 {"error":"not found"}',
      why: world.allowed('gateway', missing),
    });
  },
};
