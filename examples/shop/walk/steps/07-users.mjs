import { generateKeyPair, SignJWT } from 'jose';
import { describe, jsonOf } from '../../../platform/ask.mjs';

/** A token that says what the shop's own would say, signed with another key of the same name. */
async function forgeToken() {
  const { privateKey } = await generateKeyPair('ES256');
  return new SignJWT({ groups: ['admin'] })
    .setProtectedHeader({ alg: 'ES256', kid: 'shop-1', typ: 'JWT' })
    .setIssuer('https://idp.shop.example')
    .setSubject('alice')
    .setAudience('shop')
    .setIssuedAt()
    .setExpirationTime('1h')
    .sign(privateKey);
}

export const usersStep = {
  title: '(7) RequestAuthentication: no token passes, a bad one gets what Istio answers',
  async run({ world, check, note }) {
    note('07-users.yaml is added, and the gateway fetches the key set');
    const from = world.mark('gateway');
    await world.change((copy) => copy.teach('07-users.yaml'));
    await world.shop.gateway.line(/ key-set-refreshed: .*: 1 usable keys/, { from, what: 'word of the key set' });
    const without = await world.plain('gateway', '/whoami');
    check({
      asked: 'GET /whoami of the gateway without a token',
      got: `${without.status}, user ${jsonOf(without).user}`,
      want: '200, user null',
      why: world.allowed('gateway', without),
    });
    const good = await world.plain('gateway', '/whoami', { token: await world.token('sub=alice') });
    check({
      asked: 'with a token of alice',
      got: `${good.status}, user ${jsonOf(good).user}`,
      want: '200, user https://idp.shop.example/alice',
      why: world.allowed('gateway', good),
    });
    // Istio allows a minute of difference between two clocks.
    const tokens = [
      ['an expired token', await world.token('expires=-120'), '401 Jwt is expired'],
      ['a forged token', await forgeToken(), '401 Jwt verification fails'],
      ['a token for another audience', await world.token('aud=billing'), '403 Audiences in Jwt are not allowed'],
      ['a token of an unknown issuer', await world.token('iss=https://other.example'), '401 Jwt issuer is not configured'],
      [
        'something that is no token',
        'let-me-in',
        '401 Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections',
      ],
    ];
    for (const [what, token, want] of tokens) {
      const answer = await world.plain('gateway', '/products/1', { token });
      check({
        asked: `GET /products/1 with ${what}`,
        got: describe(answer),
        want,
        why: await world.denied('gateway', { answer }),
      });
    }
  },
};
