// Refused inside: connections that prove nothing, and services where they have no business.
import { createTestAuthority } from '@enmesh/core/testing';
import { checkRefusal } from '../check.mjs';

const denied = '403 RBAC: access denied';

/** A certificate that says what checkout's says, signed by an authority of the forger's. */
async function forge() {
  const { chain, privateKey } = await (await createTestAuthority()).issue({ namespace: 'boutique', serviceAccount: 'checkout' });
  return { cert: chain, key: privateKey.export({ type: 'pkcs8', format: 'pem' }) };
}

export const connectionRefusals = {
  title: 'Inside: connections that do not prove who is calling, or who answers',
  async *checks(world) {
    const alpn = { ALPNProtocols: ['istio', 'http/1.1'] };
    const overTls = async (certificate) => {
      const answer = await world.connect('payment', 'POST', '/charges', { ...alpn, ...certificate });
      // Whether the alert overtakes the end of the connection differs from time to time.
      return { ...answer, ended: 'closed' };
    };
    yield checkRefusal(world, {
      what: 'plaintext to payment: POST /charges',
      ask: () => world.connect('payment', 'POST', '/charges'),
      want: 'reset without a byte',
      at: 'payment',
      because: /STRICT/,
    });
    yield checkRefusal(world, {
      what: 'TLS without a certificate to payment: POST /charges',
      ask: () => overTls({}),
      want: 'cut without a byte',
      at: 'payment',
      because: /no certificate/,
    });
    yield checkRefusal(world, {
      what: 'TLS to payment with a forged certificate of checkout: POST /charges',
      ask: async () => overTls(await forge()),
      want: 'cut without a byte',
      at: 'payment',
      because: /UNABLE_TO_VERIFY_LEAF_SIGNATURE/,
    });
    yield checkRefusal(world, {
      what: 'checkout to payment, while the registry gives the address of ad for it: POST /charges',
      ask: () => world.call('checkout', 'payment', 'POST', '/charges', { config: world.misled('payment', 'ad') }),
      want: 'no answer, ENMESH_TLS_SECURE_NAMING',
      because: /may be payment, and the server is ad$/,
    });
  },
};

/** `[caller, service, method, path, why]`: all of them have good certificates of the mesh. */
const wrongBusiness = [
  ['default/loadgenerator', 'productcatalog', 'GET', '/products', /principals is .*ns\/default\/sa\/loadgenerator,/],
  ['ad', 'productcatalog', 'GET', '/products', /principals is ad, wants/],
  ['recommendation', 'redis', 'GET', '/carts/alice', /principals is recommendation, wants/],
  ['frontend', 'redis', 'GET', '/carts/alice', /principals is frontend, wants/],
  ['frontend', 'payment', 'POST', '/charges', /principals is frontend, wants/],
  ['frontend', 'email', 'POST', '/confirmations', /principals is frontend, wants/],
  ['frontend', 'shipping', 'POST', '/shipments', /no rule matched of ALLOW policy boutique\/shipping/],
  ['checkout', 'productcatalog', 'DELETE', '/products/mug', /operation\.methods is DELETE/],
  ['cart', 'redis', 'GET', '/config', /operation\.paths is \/config/],
  ['frontend', 'productcatalog', 'GET', '/debug/vars', /DENY policy boutique\/productcatalog-debug/],
  ['frontend', 'productcatalog', 'GET', '/DEBUG/vars', /DENY policy boutique\/productcatalog-debug/],
  ['frontend', 'productcatalog', 'GET', '//debug/vars/', /DENY policy boutique\/productcatalog-debug/],
  ['frontend', 'productcatalog', 'GET', '/%64ebug/vars', /DENY policy boutique\/productcatalog-debug/],
];

export const serviceRefusals = {
  title: 'Inside: a good certificate, and no business there',
  async *checks(world) {
    for (const [account, service, method, path, because] of wrongBusiness) {
      const ask = () => world.call(account, service, method, path);
      yield checkRefusal(world, { what: `${account} to ${service}: ${method} ${path}`, ask, want: denied, at: service, because });
    }
  },
};
