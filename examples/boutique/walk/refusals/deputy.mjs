// The confused deputy: the right service without a user, and whoever got hold of what travels of a user.
import { checkRefusal } from '../check.mjs';

const denied = '403 RBAC: access denied';
const unverified = '401 The user of this request cannot be verified';

/** The hop token with other claims, bound to the thief's own certificate; the signature is all that he cannot make. */
function altered(token, certificateSha256) {
  const [header, payload, signature] = token.split('.');
  const change = (segment, more) => {
    const value = { ...JSON.parse(Buffer.from(segment, 'base64url').toString()), ...more };
    return Buffer.from(JSON.stringify(value)).toString('base64url');
  };
  const user = { iss: 'https://accounts.boutique.example', group: 'tester' };
  const bound = { 'x5t#S256': Buffer.from(certificateSha256, 'hex').toString('base64url') };
  return [change(header, bound), change(payload, { user }), signature].join('.');
}

/** The certificate of this process as frontend, as recommendation saw it a moment ago. */
const certificateOf = (world, account) =>
  world.heard.findLast(({ kind, peer }) => kind === 'allowed' && peer === `cluster.local/ns/boutique/sa/${account}`).certificate;

export const deputyRefusals = {
  title: 'Inside: the right service, but nobody for whom it asks',
  async *checks(world) {
    const alice = await world.users.token();
    const calls = [
      ['checkout to payment, for nobody', 'checkout', 'payment', 'POST', '/charges', {}],
      ['frontend to cart, for nobody', 'frontend', 'cart', 'GET', '/cart', {}],
      ["frontend to cart, with alice's own token", 'frontend', 'cart', 'GET', '/cart', { authorization: `Bearer ${alice}` }],
      ['checkout to email, naming alice in a header', 'checkout', 'email', 'POST', '/confirmations', { 'x-user': 'alice' }],
    ];
    for (const [what, account, service, method, path, headers] of calls) {
      const ask = () => world.call(account, service, method, path, { headers });
      const because = /requestPrincipals is/;
      yield checkRefusal(world, { what: `${what}: ${method} ${path}`, ask, want: denied, at: service, because });
    }
  },
};

export const stolenRefusals = {
  title: "A hop token of alice, frontend's for recommendation, was stolen there: it is of no use to anybody",
  async *checks(world) {
    // As frontend this process may read the catalogue, and thereby tells which certificate it has.
    await world.call('frontend', 'productcatalog', 'GET', '/products');
    const stolen = world.stolen();
    const better = altered(stolen, certificateOf(world, 'frontend'));
    const another = /bound to another certificate than that of/;
    const calls = [
      ['the thief, recommendation, to cart', 'recommendation', 'cart', '/cart', stolen, /in the principals of no inbound entry/],
      ['the thief to checkout', 'recommendation', 'checkout', '/orders', stolen, /in the principals of no inbound entry/],
      ['checkout, who may speak for users, to cart', 'checkout', 'cart', '/cart', stolen, another],
      ['another process of frontend to cart', 'frontend', 'cart', '/cart', stolen, another],
      [
        'another process of frontend to recommendation, whom it is for',
        'frontend',
        'recommendation',
        '/recommendations',
        stolen,
        another,
      ],
      ['the same, made a token of a tester and of that process', 'frontend', 'recommendation', '/canary', better, /did not sign/],
    ];
    for (const [what, account, service, path, token, because] of calls) {
      const headers = { 'enmesh-hop-token': token, 'x-version': 'canary' };
      const ask = () => world.call(account, service, 'GET', path, { headers });
      yield checkRefusal(world, { what: `${what}: GET ${path}`, ask, want: unverified, at: service, because });
    }
  },
};
