import { jsonOf } from '../../../platform/ask.mjs';

export const tokenStep = {
  title: '(9) The raw token ends at the gateway; its handler has the verified payload',
  async run({ world, check }) {
    const token = await world.token('sub=alice&groups=staff');
    const answer = await world.plain('gateway', '/whoami', { token, headers: { 'sec-istio-auth-userinfo': 'Zm9yZ2Vk' } });
    const { user, claims, authorization, atProduct } = jsonOf(answer);
    check({
      asked: "what the gateway's handler reads in sec-istio-auth-userinfo, which the client tried to forge",
      got: `iss ${claims?.iss}, sub ${claims?.sub}, aud ${claims?.aud}, groups ${claims?.groups}`,
      want: 'iss https://idp.shop.example, sub alice, aud shop, groups staff',
      why: world.allowed('gateway', answer),
    });
    check({
      asked: "whom the mesh names as user, and what is left of the authorization header in the gateway's handler",
      got: `${user}, authorization ${authorization}`,
      want: 'https://idp.shop.example/alice, authorization null',
      why: 'RequestAuthentication shop/users does not say forwardOriginalToken',
    });
    const received = JSON.stringify(atProduct ?? 'nothing');
    check({
      asked: 'what product received of it, in headers and raw headers',
      got: `peer ${atProduct?.peer}, ${parts(token).some((part) => received.includes(part)) ? 'a part of the token' : 'no part of the token'}`,
      want: 'peer cluster.local/ns/shop/sa/gateway, no part of the token',
      why: 'nothing of a user travels on unless a TokenPropagation says so',
    });
  },
};

/** The token, its payload and its signature: none of them may be found. */
function parts(token) {
  const [, payload, signature] = token.split('.');
  return [token, payload, signature];
}
