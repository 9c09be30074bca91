import { createTestAuthority } from '@enmesh/core/testing';
import { ask, describe } from '../../../platform/ask.mjs';

/** A certificate that looks like the gateway's, signed by an authority of our own with this trust domain. */
async function forge(trustDomain) {
  const authority = await createTestAuthority({ trustDomain });
  const { chain, privateKey } = await authority.issue({ namespace: 'shop', serviceAccount: 'gateway' });
  return { cert: chain, key: privateKey.export({ type: 'pkcs8', format: 'pem' }) };
}

export const foreignStep = {
  title: '(6) A caller without a certificate, or with one of a foreign trust domain, is cut',
  async run({ world, check }) {
    const { port } = world.shop.product.place;
    const callers = [
      ['without a certificate', {}],
      ['as spiffe://foreign.example/ns/shop/sa/gateway', await forge('foreign.example')],
      ['as spiffe://cluster.local/ns/shop/sa/gateway, signed by an authority of its own', await forge('cluster.local')],
    ];
    for (const [who, certificate] of callers) {
      const from = world.mark('product');
      const answer = await ask({ port, path: '/products/1', tls: { ...certificate, ALPNProtocols: ['istio', 'http/1.1'] } });
      check({
        asked: `GET /products/1 of product by TLS, ${who}`,
        // How the end looks to the client differs: the alert may or may not overtake the close.
        got: describe({ ...answer, ended: 'closed' }),
        want: 'cut without a byte',
        why: await world.denied('product', { from }),
      });
    }
    const answer = await world.call('visitor', 'http://product.shop.svc.cluster.local/products/1');
    check({
      asked: 'the same by a process of the mesh',
      got: describe(answer),
      want: '200 {"id":"1","name":"Table lamp"}',
      why: world.allowed('product', answer),
    });
  },
};
