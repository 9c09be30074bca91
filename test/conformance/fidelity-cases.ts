import { Dice } from '../reference/random-values.js';
import { randomKeySet, signToken } from '../support/fuzz-token.js';
import type { WrittenCase } from '../support/fuzz-check.js';
import type { RawDocument } from '../support/fuzz-world.js';

const issuer = 'https://idp.example';
const workload = { namespace: 'shop', serviceAccount: 'product', labels: {} };

const document = (kind: string, name: string, spec: object): RawDocument => ({
  apiVersion: 'security.istio.io/v1',
  kind,
  metadata: { name, namespace: 'shop' },
  spec,
});
const users = (...rules: object[]): RawDocument =>
  document('RequestAuthentication', 'users', {
    jwtRules: rules.map((rule) => ({ issuer, jwks: randomKeySet(new Dice(1)), ...rule })),
  });
const policy = (action: 'ALLOW' | 'DENY', rule: object): RawDocument =>
  document('AuthorizationPolicy', 'p', { action, rules: [rule] });
const when = (key: string, ...values: string[]): object => ({ when: [{ key, values }] });
const caller = (...requestPrincipals: string[]): object => ({ from: [{ source: { requestPrincipals } }] });

/** A request with a user's token in `Authorization`, or where `place` puts it. */
function asUser(
  documents: readonly RawDocument[],
  claims: object,
  place: (token: string) => { target?: string; headers?: [string, string][] } = (token) => ({
    headers: [['authorization', `Bearer ${token}`]],
  }),
): WrittenCase {
  const { target = '/x', headers = [] } = place(signToken({ iss: issuer, sub: 'alice', ...claims }));
  const request = { method: 'GET', target, headers: [['host', 'a'], ...headers] as [string, string][] };
  const connection = { tls: false, sourceIp: '10.0.0.9', destinationIp: '10.0.0.1', destinationPort: 8080 };
  return { world: { workload, mesh: {}, documents }, case: { connection, request } };
}

const output = (header: string, claim: string): object => ({ outputClaimToHeaders: [{ header, claim }] });
const inQuery = (token: string) => ({ target: `/x?b=2&access_token=${token}&a=1` });

/** Where door and reference once parted, with what both must say now. */
export const fidelityCases: readonly (readonly [title: string, status: number, make: () => WrittenCase])[] = [
  [
    'a policy sees the header that a verified claim was written to',
    200,
    () => asUser([users(output('x-user', 'sub')), policy('ALLOW', when('request.headers[x-user]', 'alice'))], {}),
  ],
  [
    'a policy sees the payload of a verified token',
    200,
    () =>
      asUser([users({ outputPayloadToHeader: 'x-payload' }), policy('ALLOW', when('request.headers[x-payload]', 'eyJ*'))], {}),
  ],
  [
    'a policy sees the header of a token no more once it was verified',
    200,
    () => asUser([users({}), policy('DENY', when('request.headers[authorization]', '*'))], {}),
  ],
  [
    'a policy sees the header of a token that is forwarded',
    403,
    () => asUser([users({ forwardOriginalToken: true }), policy('DENY', when('request.headers[authorization]', '*'))], {}),
  ],
  [
    'a policy sees the query without the token, written anew',
    200,
    () => asUser([users({}), policy('ALLOW', when('request.headers[:path]', '/x?a=1&b=2'))], {}, inQuery),
  ],
  [
    'a policy sees the query with a token that is forwarded',
    403,
    () =>
      asUser([users({ forwardOriginalToken: true }), policy('ALLOW', when('request.headers[:path]', '/x?a=1&b=2'))], {}, inQuery),
  ],
  [
    'the payload stands before the claims in a header of both',
    200,
    () => asUser([users({ ...output('x-user', 'sub'), outputPayloadToHeader: 'x-user' })], {}),
  ],
  ...['sub', 'iss'].flatMap((claim): (readonly [string, number, () => WrittenCase])[] => [
    [
      `a user whose ${claim} is a list has no principal to allow`,
      403,
      () => asUser([users({ spaceDelimitedClaims: [claim] }), policy('ALLOW', caller('*'))], {}),
    ],
    [
      `a user whose ${claim} is a list has no principal to deny`,
      200,
      () => asUser([users({ spaceDelimitedClaims: [claim] }), policy('DENY', caller(`${issuer}/alice`))], {}),
    ],
    [
      `each item of ${claim} is a value of the claim`,
      200,
      () =>
        asUser(
          [users({ spaceDelimitedClaims: [claim] }), policy('ALLOW', when(`request.auth.claims[${claim}]`, issuer, 'alice'))],
          {},
        ),
    ],
  ]),
  [
    'each item of a space-delimited audience counts',
    200,
    () =>
      asUser([users({ spaceDelimitedClaims: ['aud'] }), policy('ALLOW', when('request.auth.audiences', 'b'))], { aud: 'a b' }),
  ],
  [
    'each item of a space-delimited presenter counts',
    200,
    () =>
      asUser([users({ spaceDelimitedClaims: ['azp'] }), policy('ALLOW', when('request.auth.presenter', 'b'))], { azp: 'a b' }),
  ],
  [
    'a claim of nothing but blanks stays a text',
    200,
    () => asUser([users({}), policy('ALLOW', when('request.auth.claims[scope]', '*'))], { scope: '  ' }),
  ],
  [
    'a decoded escape makes no new escape',
    200,
    () =>
      asUser([policy('ALLOW', { to: [{ operation: { paths: ['/p/%252e%252e/s'] } }] })], {}, () => ({
        target: '/p/%%32%65%%32%65/s',
      })),
  ],
];
