import { describe, jsonOf } from '../../../platform/ask.mjs';

export const permissiveStep = {
  title: '(2) PERMISSIVE: the same port answers mutual TLS and plaintext',
  async run({ world, check, note }) {
    note('01-modes.yaml: DISABLE becomes PERMISSIVE');
    await world.change((copy) => copy.edit('01-modes.yaml', 'mode: DISABLE', 'mode: PERMISSIVE'));
    const plain = await world.plain('product', '/debug/call');
    check({
      asked: `GET /debug/call at port ${world.shop.product.place.port} of product, in the clear`,
      got: `${plain.status}, peer ${jsonOf(plain).peer}`,
      want: '200, peer null',
      why: world.allowed('product', plain),
    });
    const secure = await world.call('visitor', 'http://product.shop.svc.cluster.local/debug/call');
    check({
      asked: `the same at port ${world.shop.places.get('product').port} by a process of the mesh, service account visitor`,
      got: `${secure.status}, peer ${jsonOf(secure).peer}`,
      want: '200, peer cluster.local/ns/shop/sa/visitor',
      why: world.allowed('product', secure),
    });
    const user = await world.plain('gateway', '/whoami');
    check({
      asked: 'whom product sees when the gateway calls it for a user',
      got: `${user.status}, peer ${jsonOf(user).atProduct?.peer}`,
      want: '200, peer cluster.local/ns/shop/sa/gateway',
      why: world.allowed('gateway', user),
    });
    const product = await world.plain('gateway', '/products/1');
    check({
      asked: 'GET /products/1 of the gateway, in the clear as before',
      got: describe(product),
      want: '200 {"id":"1","name":"Table lamp","quantity":12}',
      why: world.allowed('gateway', product),
    });
  },
};
