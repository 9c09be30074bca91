import { describe, expect, it } from 'vitest';
import { createTestIssuer } from '../testing/issuer.js';
import { createBearerVerifier } from './bearer.js';

const issuer = await createTestIssuer();
const other = await createTestIssuer({ issuer: 'https://other.test' });
const now = Date.now();
const verifier = createBearerVerifier({
  issuers: [
    { issuer: issuer.issuer, audiences: ['enmesh-ca', 'other'], jwks: issuer.jwksText },
    { issuer: other.issuer, audiences: ['elsewhere'], jwks: other.jwksText },
  ],
});

describe('a verifier of bearer tokens', () => {
  it('gives the identity that a good token proves', async () => {
    const token = await issuer.sign({ sub: 'vm-1', aud: ['enmesh-ca'] });
    expect(verifier.verify(token, now)).toMatchObject({ issuer: issuer.issuer, subject: 'vm-1', audiences: ['enmesh-ca'] });
  });

  it('says why a token proves nothing', async () => {
    const code = (text: string, at = now): unknown => {
      const outcome = verifier.verify(text, at);
      return 'ok' in outcome ? outcome.code : outcome;
    };
    const good = await issuer.sign({ sub: 'vm-1', aud: 'enmesh-ca' });
    expect(code(good, now + 400_000)).toBe('ENMESH_JWT_EXPIRED');
    expect(code(await issuer.sign({ sub: 'vm-1', aud: 'elsewhere' }))).toBe('ENMESH_JWT_AUDIENCE');
    expect(code(await issuer.sign({ sub: 'vm-1' }))).toBe('ENMESH_JWT_AUDIENCE');
    expect(code(await other.sign({ iss: issuer.issuer, sub: 'vm-1', aud: 'enmesh-ca' }, { kid: 'key-1' }))).toBe(
      'ENMESH_JWT_SIGNATURE',
    );
    expect(code(await issuer.sign({ iss: 'https://unknown.test', aud: 'enmesh-ca' }))).toBe('ENMESH_JWT_ISSUER');
    for (const text of ['', 'a', 'a.b.c', `${good}.`, ` ${good}`, `${good} `, `Bearer ${good}`, 'x'.repeat(20_000)])
      expect(code(text)).toMatch(/^ENMESH_JWT_/);
  });

  it('fetches keys and has none until it could', async () => {
    const served = await issuer.serve();
    const issuers = [{ issuer: issuer.issuer, audiences: ['enmesh-ca'], jwksUri: served.uri, insecureHttp: true }];
    const token = await issuer.sign({ sub: 'vm-1', aud: 'enmesh-ca' });
    const fetching = createBearerVerifier({ issuers });
    expect(fetching.verify(token, now)).toMatchObject({ ok: false, code: 'ENMESH_JWT_KEYS_UNAVAILABLE' });
    await fetching.ready();
    expect(fetching.verify(token, now)).toMatchObject({ subject: 'vm-1' });
    fetching.close();
    expect(fetching.verify(token, now)).toMatchObject({ ok: false });
    await served.close();
  });

  it('is not made without an audience or with a key set that has no key', () => {
    expect(() => createBearerVerifier({ issuers: [{ issuer: 'https://a', audiences: [] }] })).toThrow(TypeError);
    expect(() => createBearerVerifier({ issuers: [{ issuer: 'https://a', audiences: ['b'], jwks: '{"keys":[]}' }] })).toThrow(
      expect.objectContaining({ code: 'ENMESH_JWT_KEY_SET_INVALID' }),
    );
  });
});
