// Refused at the door of frontend: users without a good token, a claim or a header.
import { checkRefusal } from '../check.mjs';

const denied = '403 RBAC: access denied';
const canary = { 'x-version': 'canary' };

/** `[what, request, what the client gets, why]`; a request is `[method, path, options]` of `world.visit`. */
async function tokens({ token, forged }) {
  const good = await token();
  const [header, , signature] = good.split('.');
  const claims = { iss: 'https://accounts.boutique.example', aud: 'boutique', sub: 'alice', group: 'tester' };
  const payload = Buffer.from(JSON.stringify(claims)).toString('base64url');
  return [
    ['no token', {}, denied, /requestPrincipals is/],
    ['an expired token', { token: await token({}, { expiresIn: -120 }) }, '401 Jwt is expired', /exp lies in the past/],
    ['a forged token', { token: await forged({ group: 'tester' }) }, '401 Jwt verification fails', /signature/],
    ['a token with other claims', { token: [header, payload, signature].join('.') }, '401 Jwt verification fails', /signature/],
    ['a token for another shop', { token: await token({ aud: 'bazaar' }) }, '403 Audiences in Jwt are not allowed', /audience/i],
    [
      'a token of an unknown issuer',
      { token: await token({ iss: 'https://idp.elsewhere.example' }) },
      '401 Jwt issuer is not configured',
      /issuer/,
    ],
    ['a payload header instead of a token', { headers: { 'sec-istio-auth-userinfo': payload } }, denied, /requestPrincipals is/],
    ['a hop token instead of a token', { headers: { 'enmesh-hop-token': good } }, denied, /requestPrincipals is/],
  ];
}

export const tokenRefusals = {
  title: 'At the door: no token, or none that is good',
  async *checks(world) {
    for (const [what, options, want, because] of await tokens(world.users)) {
      yield checkRefusal(world, {
        what: `${what}: GET /`,
        ask: () => world.visit('GET', '/', options),
        want,
        at: 'frontend',
        because,
      });
    }
  },
};

export const canaryRefusals = {
  title: 'At the door: the canary is for the claim group=tester with the header x-version: canary, in every spelling',
  async *checks(world) {
    const alice = await world.users.token();
    const tina = await world.users.token({ sub: 'tina', group: 'tester' });
    const requests = [
      ['alice, no tester', 'GET', '/canary', { token: alice, headers: canary }, /claims\[group\]/],
      ['tina without the header', 'GET', '/canary', { token: tina }, /headers\[x-version\]/],
      ['tina with another version', 'GET', '/canary', { token: tina, headers: { 'x-version': 'v1' } }, /headers\[x-version\]/],
      ['tina with another method', 'POST', '/canary', { token: tina, headers: canary }, /methods/],
      ...['/CANARY', '/canary/', '//canary', '/%63anary', '/./canary', '/product/../canary'].map((path) => [
        'alice, other spellings',
        'GET',
        path,
        { token: alice, headers: canary },
        /no rule matched of ALLOW policy boutique\/frontend/,
      ]),
    ];
    for (const [what, method, path, options, because] of requests) {
      const ask = () => world.visit(method, path, options);
      yield checkRefusal(world, { what: `${what}: ${method} ${path}`, ask, want: denied, at: 'frontend', because });
    }
  },
};
