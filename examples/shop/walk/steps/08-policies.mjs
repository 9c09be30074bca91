import { describe } from '../../../platform/ask.mjs';

const denied = '403 RBAC: access denied';
const product = 'http://product.shop.svc.cluster.local';
const stock = 'http://stock.shop.svc.cluster.local';

export const policiesStep = {
  title: '(8) AuthorizationPolicy: who may do what, at the gateway and between the services',
  async run({ world, check, note }) {
    note('08-gateway.yaml and 08-services.yaml are added');
    for (const name of ['08-gateway.yaml', '08-services.yaml']) await world.change((copy) => copy.teach(name));
    const alice = await world.token('sub=alice&groups=staff');
    const admin = await world.token('sub=root&groups=staff,admin');
    const web = { 'x-shop-client': 'web' };

    /** One request of a user; the reason comes from the gateway. */
    const user = async (what, path, options, want) => {
      const answer = await world.plain('gateway', path, options);
      const why = answer.status === 403 ? await world.denied('gateway', { answer }) : world.allowed('gateway', answer);
      check({ asked: `${options.method ?? 'GET'} ${path} ${what}`, got: describe(answer), want, why });
    };
    /** One call inside of the mesh; the reason comes from the service. */
    const call = async (as, service, url, method, want) => {
      const answer = await world.call(as, url, { method });
      const why = answer.status === 403 ? await world.denied(service, { answer }) : world.allowed(service, answer);
      check({ asked: `${method} ${url} as ${as}`, got: describe(answer), want, why });
    };

    await user('without a token', '/healthz', {}, '200 {"status":"ok"}');
    await user('without a token', '/products/1', {}, denied);
    await user('with a token', '/products/1', { token: alice }, '200 {"id":"1","name":"Table lamp","quantity":12}');
    await user('with a token whose groups are staff', '/admin/report', { token: alice }, denied);
    await user('with a token whose groups are staff and admin', '/admin/report', { token: admin }, '200 {"report":"all quiet"}');
    await user(
      'with the header',
      '/orders',
      { method: 'POST', token: alice, headers: web },
      '200 {"method":"POST","accepted":true}',
    );
    await user('with the header', '/orders', { token: alice, headers: web }, denied);
    await user('without the header', '/orders', { method: 'POST', token: alice }, denied);

    await call('gateway', 'product', `${product}/products/1`, 'GET', '200 {"id":"1","name":"Table lamp"}');
    await call('visitor', 'product', `${product}/products/1`, 'GET', denied);
    await call('gateway', 'product', `${product}/products/1`, 'DELETE', denied);
    await call('gateway', 'stock', `${stock}/stocks?productId=1`, 'GET', '200 {"productId":"1","quantity":12}');
    await call('visitor', 'stock', `${stock}/stocks?productId=1`, 'GET', denied);
    await call('gateway', 'stock', `${stock}/stocks?productId=1`, 'POST', denied);

    const draft = '200 {"id":"draft-3","name":"Standing desk","quantity":0}';
    await user('with a token, before there is a DENY', '/products/draft-3', { token: alice }, draft);
    note('08-no-drafts.yaml is added');
    await world.change((copy) => copy.teach('08-no-drafts.yaml'));
    await user('with a token, though an ALLOW rule matches', '/products/draft-3', { token: alice }, denied);
    await user('in capitals, which Express would route alike', '/PRODUCTS/DRAFT-3', { token: alice }, denied);
    await call('gateway', 'product', `${product}/products/draft-3`, 'GET', denied);
  },
};
