import type { GivenConnection, GivenRequest } from '@enmesh/core/inbound';
import { Dice } from '../reference/random-values.js';
import { randomKeySet, signToken } from './fuzz-token.js';

/** A request that asks as much work of a step before the policies as it can. */
export interface HardDoorCase {
  readonly name: string;
  readonly request: GivenRequest;
}

const issuer = 'https://idp.example';
const times = (piece: string, length: number): string => piece.repeat(Math.floor(length / piece.length));
/** 16 KB of a path, 60 KB of one line. */
const path = (piece: string, start = '/'): string => start + times(piece, 16_000);
const line = (piece: string): string => times(piece, 60_000);

const security = 'apiVersion: security.istio.io/v1';
const jwks = JSON.stringify(randomKeySet(new Dice(1)));

/** Documents that read every place of a request. */
export const hardDocuments = `${security}
kind: RequestAuthentication
metadata: {name: users, namespace: shop}
spec:
  jwtRules:
  - {issuer: '${issuer}', jwks: ${jwks}, fromHeaders: [{name: authorization, prefix: 'Bearer '}, {name: x-jwt, prefix: 'A'}], fromParams: [t, u], fromCookies: [c, d], outputPayloadToHeader: x-payload, outputClaimToHeaders: [{header: x-user, claim: sub}]}
  - {issuer: 'https://other.example', jwks: ${jwks}, fromHeaders: [{name: x-jwt}], fromParams: [v], fromCookies: [e]}
---
${security}
kind: AuthorizationPolicy
metadata: {name: walls, namespace: shop}
spec:
  action: DENY
  rules:
  - to: [{operation: {paths: ['/admin', '/admin/*', '*/secret', '/a/{*}/b', '/a/{**}/b']}}]
  - from: [{source: {remoteIpBlocks: [10.9.0.0/16], notRequestPrincipals: ['*/nobody', 'https://*']}}]
    to: [{operation: {hosts: [admin.example, '*.admin.example'], notMethods: [GET]}}]
  - when: [{key: 'request.headers[x-long]', values: [admin, 'a*', '*b']}, {key: 'request.headers[:path]', values: ['*x']}]
---
${security}
kind: AuthorizationPolicy
metadata: {name: doors, namespace: shop}
spec:
  rules:
  - to: [{operation: {notPaths: ['/admin', '/admin/{**}']}}]
    when: [{key: 'request.headers[accept]', notValues: [admin, '*x']}]
`;

/** Where every hard request comes from. */
export const hardConnection: GivenConnection = {
  tls: true,
  alpn: ['istio'],
  peer: 'spiffe://cluster.local/ns/shop/sa/gateway',
  sourceIp: '10.0.0.9',
  destinationIp: '10.0.0.1',
  destinationPort: 8080,
};

const get = (target: string, ...headers: [string, string][]): GivenRequest => ({
  method: 'GET',
  target,
  headers: [['host', 'product.shop'], ...headers],
});

const ofPath = (name: string, target: string): HardDoorCase => ({ name: `a path of 16 KB: ${name}`, request: get(target) });
const ofLine = (name: string, header: string, value: string): HardDoorCase => ({
  name: `60 KB of ${header}: ${name}`,
  request: get('/x', [header, value]),
});

const parameters = (count: number): string =>
  Array.from({ length: count }, (_, index) => `%${(index % 90) + 10}x${index}=+%c3%a9%${index % 10}0`).join('&');

const signed = (claims: object): string => signToken({ iss: issuer, sub: 'alice', ...claims });

/** Every reader of a request's head against what is worst for it. */
export const hardDoorCases: readonly HardDoorCase[] = [
  ofPath('parents', path('../')),
  ofPath('folders and parents', path('a/../')),
  ofPath('escaped dots', path('%2e%2e/')),
  ofPath('half escaped dots', path('a/.%2e/')),
  ofPath('dots with parameters', path('a/..;x/')),
  ofPath('slashes', path('/')),
  ofPath('backslashes', path('\\')),
  ofPath('escaped slashes', path('a%2fb%5c')),
  ofPath('escaped slashes alone', path('%2f')),
  ofPath('dots between escaped slashes', path('%2f.a')),
  ofPath('stray percents', path('%%32%65')),
  ofPath('percents alone', path('%')),
  ofPath('escaped letters', path('%61')),
  ofPath('escaped octets', path('%c3%a9')),
  ofPath('escaped percents', path('%2525')),
  ofPath('semicolons', path(';')),
  ofPath('brackets', path('{|}"<>^`')),
  ofPath('fragments', path('#')),
  ofPath('capitals', path('A/')),
  ofPath('of an absolute target', path('a/../', 'http://a/')),
  { name: '16 KB of query', request: get(`/x?${times('a=%2f&', 16_000)}`) },
  {
    name: '16 KB of query around a token',
    request: get(`/x?${times('a+b=%2f&', 8_000)}t=${signed({})}&${times('&=;%', 8_000)}`),
  },
  { name: '16 KB of other parameters beside a token', request: get(`/x?t=${signed({})}&${parameters(700)}`) },
  { name: '16 KB of question marks', request: get(`/x${times('?', 16_000)}`) },
  { name: 'parameters called almost as a token is', request: get(`/x?${line('%74%75=a&')}`) },
  ofLine('commas', 'x-long', line(',')),
  ofLine('items', 'x-long', line('a,')),
  ofLine('blanks', 'x-long', line(' a')),
  ofLine('items', 'accept', line('x ,')),
  ofLine('names', 'connection', line('x-a,')),
  ofLine('many names', 'connection', Array.from({ length: 8000 }, (_, index) => `x-${index}`).join()),
  ofLine('many names in capitals and blanks', 'connection', Array.from({ length: 6000 }, (_, index) => ` X_${index} `).join()),
  ofLine('items', 'te', line('gzip,')),
  ofLine('addresses', 'x-forwarded-for', line('10.0.0.1,')),
  ofLine('commas', 'x-forwarded-for', line(',')),
  ofLine('cookies', 'cookie', line('c ;')),
  ofLine('almost cookies', 'cookie', line(' c=')),
  ofLine('semicolons', 'cookie', line(';')),
  ofLine('elements', 'x-forwarded-client-cert', line('By=a;URI=b,')),
  ofLine('prefixes', 'x-jwt', line('A')),
  ofLine('what is no token', 'authorization', `Bearer ${line('"')}`),
  ofLine('dots', 'authorization', `Bearer ${line('.')}`),
  ofLine('prefixes', 'authorization', line('Bearer ')),
  ofLine('brackets in a payload', 'authorization', `Bearer e30.${Buffer.from(times('[', 12_000)).toString('base64url')}.x`),
  ofLine(
    'members in a payload',
    'authorization',
    `Bearer ${signed(Object.fromEntries(Array.from({ length: 900 }, (_, index) => [`m${index}`, index])))}`,
  ),
  { name: 'a host of 60 KB: dots', request: { method: 'GET', target: '/x', headers: [['host', line('a.')]] } },
  { name: 'a host of 60 KB: ports', request: { method: 'GET', target: '/x', headers: [['host', line(':1')]] } },
  {
    name: '99 lines of cookies',
    request: get('/x', ...Array.from({ length: 98 }, (): [string, string] => ['cookie', times('a=b; x', 600)])),
  },
  {
    name: '98 names in every spelling of a forged one',
    request: get(
      '/x',
      ...Array.from({ length: 98 }, (_, index): [string, string] => [`x-enmes${'-'.repeat(index % 20)}_payload`, 'a']),
    ),
  },
];
