import { describe, expect, it } from 'vitest';
import { noticeEvents } from '@enmesh/core';
import { createTestIssuer } from '@enmesh/core/testing';
import { openWitness } from '../../support/attack.js';
import { createHouse, send } from '../../support/house.js';
import { peerAuthentication } from '../../support/documents.js';

// Key sets that redirect, drip, grow or are no key sets, and how often they are asked for: packages/core/src/jwt/key-sets.test.ts.
const policies = `${peerAuthentication('PERMISSIVE')}---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: users, namespace: shop}
spec: {jwtRules: [{issuer: ISSUER, jwks: 'JWKS'}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: users-only, namespace: shop}
spec: {rules: [{from: [{source: {requestPrincipals: ["*"]}}]}]}
`;

describe('rule 6: keys come from where the rule says, and from nowhere else', () => {
  const remote = (uri: string): string => policies.replace("jwks: 'JWKS'", `jwksUri: ${uri}`);

  it('a token that names its own key server makes no call, and is refused', async () => {
    const house = await createHouse(policies);
    const { port } = await openWitness(house.mesh);
    const thief = await createTestIssuer({ issuer: house.issuer.issuer });
    const keys = await thief.serve();
    for (const [header, kid] of [
      [{ jku: keys.uri }, 'key-1'],
      [{ x5u: keys.uri }, 'key-1'],
      [{}, keys.uri],
    ] as const) {
      const forged = await thief.sign({ sub: 'admin' }, { header, kid });
      expect((await send({ port }, 'GET', '/', [['Authorization', `Bearer ${forged}`]])).status).toBe(401);
    }
    expect(keys.requests).toBe(0);
    await keys.close();
    await house.close();
  });

  it('a key server over plain http is not asked unless that was opted into, and tokens are refused', async () => {
    const issuer = await createTestIssuer();
    const keys = await issuer.serve();
    const closed = await createHouse(remote(keys.uri).replaceAll('ISSUER', issuer.issuer));
    const { port } = await openWitness(closed.mesh);
    const good = await issuer.sign({ sub: 'jane' });
    expect((await send({ port }, 'GET', '/', [['Authorization', `Bearer ${good}`]])).status).toBe(401);
    expect(keys.requests).toBe(0);
    await closed.close();

    const notices: string[] = [];
    const stop = noticeEvents.subscribe(({ kind }) => notices.push(kind));
    const opted = await createHouse(remote(keys.uri).replaceAll('ISSUER', issuer.issuer), {
      jwks: { [issuer.issuer]: { insecureHttp: true } },
    });
    const open = await openWitness(opted.mesh);
    expect((await send({ port: open.port }, 'GET', '/', [['Authorization', `Bearer ${good}`]])).status).toBe(200);
    expect(notices).toContain('insecure-option');
    stop();
    await opted.close();
    await keys.close();
  });

  it.each([
    'http://169.254.169.254/latest/meta-data',
    'http://[fe80::1]/jwks',
    'http://[::ffff:169.254.169.254]/',
    'http://2852039166/',
  ])('keys are never fetched from %s, and nothing is allowed meanwhile', async (uri) => {
    const one = await createHouse(remote(`"${uri}"`), { jwks: { 'https://issuer.test': { insecureHttp: true } } });
    const { port } = await openWitness(one.mesh);
    const good = await one.issuer.sign({ sub: 'jane' });
    expect((await send({ port }, 'GET', '/', [['Authorization', `Bearer ${good}`]])).status).toBe(401);
    expect((await send({ port }, 'GET', '/')).status).toBe(403);
    await one.close();
  });
});
