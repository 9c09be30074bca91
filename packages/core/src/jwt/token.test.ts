import { describe, expect, it } from 'vitest';
import { maxTokenLength } from './jws.js';
import { refusals } from './outcome.js';
import { parseToken, readToken, sanitizeAudience } from './token.js';

const part = (value: unknown): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
const tokenOf = (header: unknown, payload: unknown, signature = 'AAAA'): string =>
  `${part(header)}.${part(payload)}.${signature}`;
const withHeader = (header: unknown): string => tokenOf(header, {});
const withPayload = (payload: unknown): string => tokenOf({ alg: 'RS256' }, payload);

const form = 'Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections';

describe('the header of a token', () => {
  it('is its own, however many others were read before', () => {
    const read = (kid: string): unknown => {
      const token = readToken(withHeader({ alg: 'RS256', kid }));
      return token.ok && token.kid;
    };
    const kids = Array.from({ length: 200 }, (_, index) => `key-${index}`);
    const long = 'k'.repeat(2_000);
    for (const round of [kids, kids.toReversed(), ['a', 'b', 'a', 'b'], [long, 'a', long, `${long}k`]])
      for (const kid of round) expect(read(kid)).toBe(kid);
    for (let time = 0; time < 3; time++) {
      expect(readToken(withHeader({ alg: 'none' }))).toBe(refusals.algUnsupported);
      expect(readToken(withHeader({ alg: 'RS256', crit: [] }))).toMatchObject({ ok: true, objection: refusals.headerMember });
    }
  });
});

describe('parsing a token', () => {
  const good = withPayload({ iss: 'me' });
  const [head, body] = good.split('.');

  it.each([
    ['', form],
    ['junk', form],
    ['a.b', form],
    ['..', form],
    [`${head}..AAAA`, form],
    [`.${body}.AAAA`, form],
    [`${head}.${body}.`, form],
    [`${good}.AAAA.AAAA`, form],
    [`!.${body}.AAAA`, 'Jwt header is an invalid Base64url encoded'],
    [`${head}=.${body}.AAAA`, 'Jwt header is an invalid Base64url encoded'],
    [`${part('{')}.${body}.AAAA`, 'Jwt header is an invalid JSON'],
    [withHeader([]), 'Jwt header is an invalid JSON'],
    // A scheme that the rule does not name is read as part of the header, white space and all.
    [`Bearer ${good}`, 'Jwt header is an invalid JSON'],
    [withHeader('null'), 'Jwt header is an invalid JSON'],
    [withHeader('{"alg":"RS256","alg":"RS256"}'), 'Jwt header is an invalid JSON'],
    [withHeader({}), 'Jwt header [alg] field is required and must be a string'],
    [withHeader({ alg: null }), 'Jwt header [alg] field is required and must be a string'],
    [withHeader({ alg: 256 }), 'Jwt header [alg] field is required and must be a string'],
    [withHeader({ ALG: 'RS256' }), 'Jwt header [alg] field is required and must be a string'],
    [withHeader({ alg: 'none' }), 'Jwt header [alg] is not supported'],
    [withHeader({ alg: 'rs256' }), 'Jwt header [alg] is not supported'],
    [withHeader({ alg: 'ES256K' }), 'Jwt header [alg] is not supported'],
    [withHeader({ alg: 'RSA-OAEP' }), 'Jwt header [alg] is not supported'],
    [withHeader({ alg: 'constructor' }), 'Jwt header [alg] is not supported'],
    [withHeader({ alg: 'RS256', kid: 1 }), 'Jwt header [kid] field is not a string'],
    [withHeader({ alg: 'RS256', kid: null }), 'Jwt header [kid] field is not a string'],
    [`${head}.${body}=.AAAA`, 'Jwt payload is an invalid Base64url encoded'],
    [withPayload('x'), 'Jwt payload is an invalid JSON'],
    [withPayload('[]'), 'Jwt payload is an invalid JSON'],
    [withPayload('"x"'), 'Jwt payload is an invalid JSON'],
    [withPayload('{"sub":"a","sub":"b"}'), 'Jwt payload is an invalid JSON'],
    [withPayload('null'), 'Jwt issuer is not configured'],
    [withPayload({ iss: 1 }), 'Jwt payload [iss] field is not a string'],
    [withPayload({ iss: null }), 'Jwt payload [iss] field is not a string'],
    [withPayload({ sub: ['a'] }), 'Jwt payload [sub] field is not a string'],
    [withPayload({ jti: 7 }), 'Jwt payload [jti] field is not a string'],
    [withPayload({ iat: '1' }), 'Jwt payload [iat] field is not an integer'],
    [withPayload({ nbf: true }), 'Jwt payload [nbf] field is not an integer'],
    [withPayload({ exp: '9999999999' }), 'Jwt payload [exp] field is not an integer'],
    [withPayload({ exp: null }), 'Jwt payload [exp] field is not an integer'],
    [withPayload({ iat: -1 }), 'Jwt payload [iat] field is not a positive 64 bit integer'],
    [withPayload({ nbf: -0.5 }), 'Jwt payload [nbf] field is not a positive 64 bit integer'],
    [withPayload('{"exp":18446744073709551615}'), 'Jwt payload [exp] field is not a positive 64 bit integer'],
    [withPayload({ aud: 1 }), 'Jwt payload [aud] field is not a string or string list'],
    [withPayload({ aud: ['a', 1] }), 'Jwt payload [aud] field is not a string or string list'],
    [withPayload({ aud: null }), 'Jwt payload [aud] field is not a string or string list'],
    [withPayload({ aud: { a: 1 } }), 'Jwt payload [aud] field is not a string or string list'],
    [`${head}.${body}.A`, 'Jwt signature is an invalid Base64url encoded'],
  ])('answers %j with 401 and "%s"', (text, message) => {
    expect(parseToken(text)).toMatchObject({ ok: false, status: 401, body: message, invalidToken: true });
  });

  it.each(['crit', 'b64', 'jku', 'x5u', 'jwk', 'zip', 'enc'])('objects to a header with %s, whatever its value', (name) => {
    for (const value of [null, false, [], 'x']) {
      const text = withHeader({ alg: 'RS256', [name]: value });
      expect(readToken(text)).toMatchObject({ objection: refusals.headerMember });
      // Whoever does not ask for objections is told of them as refusals.
      expect(parseToken(text)).toBe(refusals.headerMember);
    }
    expect(readToken(good)).toMatchObject({ objection: undefined });
  });

  it('objects to another spelling of base64url, which Envoy reads', () => {
    const spelled = (text: string): unknown => {
      const token = parseToken(text);
      return token.ok ? token.objection : token;
    };
    for (const text of [` ${good}`, `${head?.slice(0, 4)}\n${head?.slice(4)}.${body}.AAAA`])
      expect(spelled(text)).toBe(refusals.headerBase64);
    for (const text of [`${head}.${body} .AAAA`, `${head}.e31.AAAA`, `${head}.e30=.AAAA`])
      expect(spelled(text)).toBe(refusals.payloadBase64);
    for (const text of [`${good} `, `${good}\n`, `${head}.${body}.AB`, `${head}.${body}.AA==`])
      expect(spelled(text)).toBe(refusals.signatureBase64);
  });

  it('objects to dots around the parts, which Envoy passes over', () => {
    for (const text of [`${good}.`, `.${good}`, `${head}..${body}.AAAA`, `${'.'.repeat(60)}${good}`]) {
      expect(readToken(text)).toMatchObject({ text: good, objection: refusals.form });
      expect(parseToken(text)).toBe(refusals.form);
    }
  });

  it('does not mind header parameters that change nothing', () => {
    const header = { alg: 'RS256', typ: 'at+jwt', cty: 'JWT', x5t: 'AAAA', x5c: ['AAAA'], custom: 1 };
    expect(parseToken(withHeader(header))).toMatchObject({ ok: true, alg: 'RS256', kid: '' });
  });

  it('looks at no token over 16 KiB', () => {
    const long = (length: number): string => `${head}.${body}.${'A'.repeat(length - `${head}.${body}.`.length)}`;
    const fitting = [maxTokenLength, maxTokenLength - 1].map((length) => parseToken(long(length))).some((token) => token.ok);
    expect(fitting).toBe(true);
    expect(parseToken(long(maxTokenLength + 1))).toBe(refusals.tooLong);
    expect(parseToken('.'.repeat(10_000_000))).toBe(refusals.tooLong);
  });

  it('reports the first fault in the order of Envoy', () => {
    expect(parseToken(`${part({ alg: 'none', kid: 1 })}.!.!`)).toBe(refusals.algUnsupported);
    expect(parseToken(`${head}.${part({ iss: 1, sub: 1, exp: 'x', jti: 1, aud: 1 })}.A`)).toBe(refusals.issType);
    expect(parseToken(`${head}.${part({ aud: 1, jti: 1, exp: 'x', nbf: 'x', iat: -1 })}.A`)).toBe(refusals.iatRange);
    expect(parseToken(`${head}.${part({ aud: 1, jti: 1 })}.A`)).toBe(refusals.jtiType);
  });
});

describe('a parsed token', () => {
  it('holds the claims that rules compare', () => {
    const payload = { iss: 'i', sub: 's', aud: 'https://a.example/', azp: 'p', nbf: 100.9, exp: 200.9, iat: 5 };
    expect(parseToken(tokenOf({ alg: 'ES256', kid: 'k' }, payload))).toMatchObject({
      alg: 'ES256',
      kid: 'k',
      payloadSegment: part(payload),
      claims: {
        issuer: 'i',
        subject: 's',
        audiences: ['https://a.example/'],
        comparedAudiences: ['a.example'],
        presenter: 'p',
        expiresAt: 200_000,
        validFrom: 40_000,
        validUntil: 261_000,
      },
    });
  });

  it('counts for ever without exp, with exp 0 and without nbf', () => {
    for (const payload of [{}, { exp: 0, nbf: 0 }])
      expect(parseToken(withPayload(payload))).toMatchObject({
        claims: { expiresAt: Infinity, validFrom: -Infinity, validUntil: Infinity, audiences: [] },
      });
  });

  it('ignores a presenter that is no string', () => {
    expect(parseToken(withPayload({ azp: 7 }))).toMatchObject({ ok: true, claims: { presenter: undefined } });
  });

  it('is frozen in all its members, and takes nothing from prototypes', () => {
    const token = parseToken(withPayload('{"__proto__":{"iss":"evil"},"groups":["a",{"b":[]}]}'));
    if (!token.ok) throw new Error('not parsed');
    expect(token.claims.issuer).toBeUndefined();
    const groups = token.claims.payload['groups'] as [string, { b: string[] }];
    expect(() => groups.push('admin')).toThrow(TypeError);
    expect(() => groups[1].b.push('admin')).toThrow(TypeError);
  });
});

it.each([
  ['a', 'a'],
  ['http://a', 'a'],
  ['https://a/', 'a'],
  ['a//', 'a/'],
  ['https://http://a', 'http://a'],
  ['HTTP://a', 'HTTP://a'],
  ['http://', ''],
  ['/', ''],
])('compares the audience %j as %j', (audience, compared) => {
  expect(sanitizeAudience(audience)).toBe(compared);
});
