import { compactVerify, createLocalJWKSet, createRemoteJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose';
import { describe, expect, it } from 'vitest';
import { createTestIssuer, type TestAlgorithm } from './issuer.js';

describe.each<TestAlgorithm>(['RS256', 'ES256', 'EdDSA'])('a test issuer with %s', (alg) => {
  it('signs tokens that jose accepts with its keys', async () => {
    const issuer = await createTestIssuer({ alg, issuer: 'https://me.test' });
    const token = await issuer.sign({ sub: 'alice' });
    const { payload, protectedHeader } = await jwtVerify(token, createLocalJWKSet(JSON.parse(issuer.jwksText)), {
      issuer: 'https://me.test',
    });
    expect(payload).toMatchObject({ sub: 'alice', iss: 'https://me.test' });
    expect((payload.exp ?? 0) - (payload.iat ?? 0)).toBe(300);
    expect(protectedHeader).toEqual({ alg, typ: 'JWT', kid: 'key-1' });
    expect(JSON.parse(issuer.jwksText)).toEqual(issuer.jwks);
    expect(issuer.jwksText).not.toContain('"d"');
  });

  it('signs any text', async () => {
    const issuer = await createTestIssuer({ alg });
    const token = issuer.signText(`{"alg":"${alg}","alg":"${alg}"}`, 'not JSON');
    const { payload } = await compactVerify(token, createLocalJWKSet(JSON.parse(issuer.jwksText)));
    expect(Buffer.from(payload).toString()).toBe('not JSON');
  });
});

describe('a test issuer', () => {
  it('lets every claim and header be told otherwise', async () => {
    const issuer = await createTestIssuer({ alg: 'ES256' });
    const token = await issuer.sign(
      { iss: 'other', exp: 'soon', iat: undefined },
      { kid: 'k', header: { typ: 'at+jwt', x5t: 'x' } },
    );
    expect(decodeJwt(token)).toEqual({ iss: 'other', exp: 'soon' });
    expect(decodeProtectedHeader(token)).toEqual({ alg: 'ES256', typ: 'at+jwt', kid: 'k', x5t: 'x' });
    const bare = await issuer.sign({}, { kid: null, expiresIn: null, now: 5_000 });
    expect([decodeProtectedHeader(bare), decodeJwt(bare)]).toEqual([
      { alg: 'ES256', typ: 'JWT' },
      { iss: issuer.issuer, iat: 5 },
    ]);
  });

  it('rotates its keys, with or without the old ones', async () => {
    const issuer = await createTestIssuer({ alg: 'ES256' });
    const kids = () => issuer.jwks.keys.map((key) => (key as { kid?: string }).kid);
    const server = await issuer.serve();
    await issuer.rotate({ keep: true });
    expect(kids()).toEqual(['key-2', 'key-1']);
    await issuer.rotate();
    expect(kids()).toEqual(['key-3']);
    await jwtVerify(await issuer.sign({}), createRemoteJWKSet(new URL(server.uri)));
    expect(server.requests).toBe(1);
    const discovery = (await (await fetch(`${server.origin}/.well-known/openid-configuration`)).json()) as unknown;
    expect(discovery).toEqual({ jwks_uri: server.uri });
    await server.close();
  });
});
