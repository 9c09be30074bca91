import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import express5 from 'express';
import express4 from 'express4';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { X509Svid } from '@enmesh/core';
import { openWitness, reachedBy, statusesIn, type Reached, type Witness } from '../../support/attack.js';
import { createHouse, open, send, sendRaw, type Answer, type House } from '../../support/house.js';
import { peerAuthentication } from '../../support/documents.js';

// Forged names behind every framework, duplicate lines and Connection are in test/adapters/door.test.ts.
const corpora = process.env['ENMESH_CORPORA'] ?? resolve(import.meta.dirname, '../../../../shared/corpora');
const namesFile = resolve(corpora, 'header-injection/param_miner_lowercase_headers.txt');
const present = existsSync(namesFile);
if (!present) console.log(`skip: the list of header names was not found below ${corpora}`);

const policies = `${peerAuthentication('PERMISSIVE')}---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: users, namespace: shop}
spec:
  jwtRules:
  - issuer: ISSUER
    jwks: 'JWKS'
    fromHeaders: [{name: x-token}]
    outputPayloadToHeader: x-jwt-payload
    outputClaimToHeaders: [{header: x-user-name, claim: sub}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: refusals, namespace: shop}
spec:
  action: DENY
  rules:
  - when: [{key: "request.headers[x-blocked]", values: ["*"]}]
  - when: [{key: "request.headers[x-forwarded-client-cert]", values: ["*"]}]
    from: [{source: {notPrincipals: ["*"]}}]
  - to: [{operation: {paths: ["/private"]}}]
`;

const forged = 'forged-by-the-client';
const protectedNames = [
  'x-jwt-payload',
  'x-user-name',
  'x-forwarded-client-cert',
  'sec-istio-auth-userinfo',
  'enmesh-hop-token',
  'x-enmesh-peer',
];

let house: House;
let witness: Witness;
let gateway: X509Svid;
beforeAll(async () => {
  house = await createHouse(policies);
  witness = await openWitness(house.mesh);
  gateway = await house.svid('gateway');
});
afterAll(() => house.close());

type Lines = readonly (readonly [string, string])[];
const call = (headers: Lines, target = '/'): Promise<Answer> => send({ port: witness.port }, 'GET', target, headers);
const seen = ({ status, body, bytes }: Answer): Reached => {
  expect(status, bytes).toBe(200);
  return JSON.parse(body) as Reached;
};

/** Spellings that some framework or gateway reads as the same name. */
const spellings = (name: string): string[] => [
  ...new Set([
    name,
    name.toUpperCase(),
    name.replaceAll('-', '_'),
    name.replace('-', '_'),
    name.replace(/^./, (first) => first.toUpperCase()),
  ]),
];

describe('rule 4: protected headers are deleted in every spelling before anything else', () => {
  describe.skipIf(!present)('names that attackers try', () => {
    const names = present
      ? readFileSync(namesFile, 'utf8')
          .split('\n')
          .map((line) => line.trim())
          .filter((line) => /^[\w!#$%&'*+.^`|~-]+$/.test(line))
      : [];
    // They frame the message or the connection, so they are no carriers of an identity.
    const framing = new Set([
      'content-length',
      'transfer-encoding',
      'connection',
      'host',
      'expect',
      'upgrade',
      'te',
      'trailer',
      'keep-alive',
      'proxy-connection',
      'http2-settings',
    ]);

    it('give nobody an identity: not as they are, in capitals, with underscores, or twice', async () => {
      expect(names.length).toBeGreaterThan(1000);
      const value = 'spiffe://cluster.local/ns/shop/sa/gateway';
      const lines = names
        .filter((name) => !framing.has(name))
        .flatMap((name) =>
          spellings(name).flatMap(
            (spelt) =>
              [
                [spelt, value],
                [spelt, value],
              ] as const,
          ),
        )
        .filter(([name]) => !/^authorization$/i.test(name));
      for (let at = 0; at < lines.length; at += 90) {
        const answer = await call(lines.slice(at, at + 90));
        const { peer, user, headers } = seen(answer);
        expect({ peer, user }).toEqual({ peer: undefined, user: undefined });
        for (const name of protectedNames) expect(headers[name]).toBeUndefined();
      }
    });
  });

  it.each(protectedNames.flatMap((name) => spellings(name).map((spelt) => [spelt])))(
    '%s reaches no reader, alone or on several lines',
    async (name) => {
      for (const lines of [
        [[name, forged]],
        [
          [name, forged],
          ['x-other', 'kept'],
          [name, forged],
        ],
        [
          [name, ''],
          [name, forged],
        ],
      ] as Lines[]) {
        const answer = await call(lines);
        seen(answer);
        expect(answer.bytes).not.toContain(forged);
      }
    },
  );

  it('are no way to a peer on plaintext: a forged x-forwarded-client-cert is neither judged nor handed over', async () => {
    const element = `By=spiffe://cluster.local/ns/shop/sa/product;Hash=${'0'.repeat(64)};Subject="";URI=spiffe://cluster.local/ns/shop/sa/gateway`;
    const { peer, rawHeaders } = seen(await call([['X-Forwarded-Client-Cert', element]]));
    expect(peer).toBeUndefined();
    expect(rawHeaders.join('\n')).not.toContain('spiffe://');
  });

  it("over mutual TLS the peer is the certificate's, and a forged x-forwarded-client-cert is handed to nobody", async () => {
    const answer = await send({ port: witness.port, as: gateway, roots: [house.authority.rootPem] }, 'GET', '/', [
      ['x-forwarded-client-cert', `URI=spiffe://cluster.local/ns/shop/sa/${forged}`],
    ]);
    expect(seen(answer).peer).toBe('spiffe://cluster.local/ns/shop/sa/gateway');
    expect(answer.bytes).not.toContain(forged);
  });

  it.each(['__proto__', 'constructor', 'toString', 'hasOwnProperty', '__defineGetter__', 'valueOf'])(
    'a header called %s harms no reader',
    async (name) => {
      const { headers, rawHeaders, peer } = seen(
        await call([
          [name, 'polluted'],
          [name, 'again'],
          ['x-other', 'kept'],
        ]),
      );
      expect(headers['x-other']).toBe('kept');
      expect(rawHeaders.filter((one) => one === name)).toHaveLength(2);
      expect(peer).toBeUndefined();
      expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
    },
  );

  it('trailers bring no identity either, to any reader', async () => {
    const trailers = [...protectedNames.flatMap(spellings), 'Authorization'].map((name) => `${name}: ${forged}\r\n`).join('');
    const answer = await sendRaw(
      { port: witness.port },
      `POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTrailer: x-jwt-payload\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n${trailers}x-fine: kept\r\n\r\n`,
    );
    const { trailers: got, rawTrailers, trailersDistinct, body } = seen(answer);
    expect(body).toBe('abc');
    expect(got).toEqual({ 'x-fine': 'kept' });
    expect(rawTrailers).toEqual(['x-fine', 'kept']);
    expect(trailersDistinct).toEqual({ 'x-fine': ['kept'] });
    expect(answer.bytes).not.toContain(forged);
  });

  it('what the mesh itself writes stands alone, over a forgery of it', async () => {
    const token = await house.issuer.sign({ sub: 'jane' });
    const { headers, rawHeaders, headersDistinct } = seen(
      await call([
        ['x-token', token],
        ['X_User_Name', forged],
        ['x-user-name', forged],
      ]),
    );
    expect(headers['x-user-name']).toBe('jane');
    expect(headersDistinct['x-user-name']).toEqual(['jane']);
    expect(rawHeaders.filter((name) => /^x.user.name$/i.test(name))).toHaveLength(1);
  });

  it.each([
    ['Connection: close, x-jwt-payload'],
    ['Connection: close\r\nConnection: X_Jwt_Payload'],
    ['Connection: close, host'],
    ['Connection: close, authorization'],
    ['Connection: close,x-enmesh-peer'],
    ['Connection: close, x-forwarded-client-cert'],
  ])('%j is refused', async (line) => {
    const answer = await sendRaw({ port: witness.port }, `GET / HTTP/1.1\r\nHost: a\r\n${line}\r\n\r\n`);
    expect(answer.status).toBe(400);
  });

  it.each([
    ['Host: a\r\nHost: b'],
    ['Host: a\r\nhost: a'],
    ['Host: a\r\nAuthorization: Bearer x\r\nauthorization: Bearer y'],
    ['Host: a/private?'],
    ['Host: a#b'],
    ['Host: a?b'],
    ['Host: a\\b'],
    ['Host: a b'],
    ['Host: a\xe9'],
    ['Host: <a>'],
  ])('%j is refused with 400', async (lines) => {
    expect(await sendRaw({ port: witness.port }, `GET / HTTP/1.1\r\n${lines}\r\nConnection: close\r\n\r\n`)).toMatchObject({
      status: 400,
    });
  });

  describe.each([
    ['Express 5', express5],
    ['Express 4', express4 as unknown as typeof express5],
  ])('%s inside a listener that the door cannot look into', (_name, framework) => {
    const bytesFor = (target: string, more = ''): string =>
      `POST ${target} HTTP/1.1\r\nHost: a\r\n${more}X_Jwt_Payload: ${forged}\r\nx-fine: kept\r\nTransfer-Encoding: chunked\r\n\r\n` +
      `3\r\nabc\r\n0\r\nx-jwt-payload: ${forged}\r\nX_User_Name: ${forged}\r\nx-late: kept\r\n\r\n`;
    const start = (): Promise<number> => {
      const app = framework();
      const inner = framework();
      app.use('/inner', inner);
      for (const one of [app, inner])
        one.post('/', (request, response) => {
          const early = [request.rawHeaders, request.headersDistinct];
          void reachedBy(request).then((all) => response.json({ early, ...all }));
        });
      return open(house.mesh.createServer((request, response) => app(request, response)));
    };

    it('reads the same headers and trailers as at the door itself', async () => {
      const port = await start();
      for (const target of ['/', '/', '/inner/', '/inner/']) {
        const answer = await sendRaw({ port }, bytesFor(target, 'Connection: close\r\n'));
        const { headersDistinct, trailers, rawTrailers } = seen(answer);
        expect(answer.bytes).not.toContain(forged);
        expect(headersDistinct['x-fine']).toEqual(['kept']);
        expect(trailers).toEqual({ 'x-late': 'kept' });
        expect(rawTrailers).toEqual(['x-late', 'kept']);
      }
    });

    it('does so from its first requests on, which come at once', async () => {
      const answer = await sendRaw(
        { port: await start() },
        bytesFor('/') + bytesFor('/') + bytesFor('/', 'Connection: close\r\n'),
      );
      expect(statusesIn(answer.bytes)).toEqual([200, 200, 200]);
      expect(answer.bytes).not.toContain(forged);
      expect(answer.bytes.match(/"rawTrailers":\["x-late","kept"\]/g)).toHaveLength(3);
    });
  });
});
