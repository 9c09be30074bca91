import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { formatProblem } from '../problem.js';
import { validateDocuments } from '../validate.js';

const jwkOf = (key: ReturnType<typeof generateKeyPairSync>['publicKey']): Record<string, unknown> =>
  key.export({ format: 'jwk' }) as Record<string, unknown>;
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const publicEc = jwkOf(ec.publicKey);
const publicRsa = jwkOf(generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey);
const weakRsa = jwkOf(generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey);
const publicEd = jwkOf(generateKeyPairSync('ed25519').publicKey);
const symmetric = { kty: 'oct', k: 'AAAA' };

function validate(spec: unknown): { problems: string; rules: unknown } {
  const document = {
    apiVersion: 'security.istio.io/v1',
    kind: 'RequestAuthentication',
    metadata: { name: 'r', namespace: 'shop' },
    spec,
  };
  const { resources, problems } = validateDocuments([{ name: 'r.yaml', text: JSON.stringify(document) }]);
  expect(resources === undefined).toBe(problems.some((problem) => problem.level === 'error'));
  return {
    problems: problems.map((problem) => `${problem.level} ${problem.code} ${formatProblem(problem)}`).join('\n'),
    rules: resources?.requestAuthentications[0]?.spec.jwtRules,
  };
}

const rule = (fields: object): string => validate({ jwtRules: [{ issuer: 'https://idp.example', ...fields }] }).problems;
const keys = (...list: unknown[]): string => rule({ jwks: JSON.stringify({ keys: list }) });

describe('RequestAuthentication', () => {
  it('admits no rules, and a rule with every field', () => {
    expect(validate({}).problems).toBe('');
    expect(
      rule({
        audiences: ['shop'],
        jwksUri: 'https://idp.example/jwks',
        fromHeaders: [{ name: 'x-token', prefix: 'Token ' }],
        fromParams: ['token'],
        fromCookies: ['session'],
        outputPayloadToHeader: 'sec-istio-auth-userinfo',
        outputClaimToHeaders: [{ header: 'x-sub', claim: 'user.sub' }],
        forwardOriginalToken: true,
        timeout: '1m30s',
        spaceDelimitedClaims: ['roles'],
      }),
    ).toBe('');
  });

  it('reads jwks_uri as jwksUri, and an empty jwks as absent', () => {
    expect(validate({ jwtRules: [{ issuer: 'i', jwks_uri: 'https://a/b', jwks: '' }] }).rules).toEqual([
      { issuer: 'i', jwksUri: 'https://a/b' },
    ]);
  });

  it.each([
    ['EC', publicEc],
    ['RSA', publicRsa],
    ['Ed25519', publicEd],
  ])('admits an inline %s key', (_kind, key) => {
    expect(keys({ ...key, kid: 'a', use: 'sig' })).toBe('');
  });

  it.each([
    ['a symmetric key', symmetric, 'is a symmetric key'],
    ['a private key', jwkOf(ec.privateKey), 'is a private key'],
    ['a short RSA key', weakRsa, 'is an RSA key of less than 2048 bits'],
    ['a key for encryption', { ...publicEc, use: 'enc' }, 'is not for signatures'],
    ['another curve', { ...publicEc, crv: 'secp256k1' }, 'is no point of P-256'],
    ['a point cut short', { ...publicEc, x: 'AAAA' }, 'is no point of P-256'],
    ['X25519', { ...publicEd, crv: 'X25519' }, 'is no Ed25519 key'],
  ])('refuses %s alone and warns of it beside a usable key', (_what, key, expected) => {
    expect(keys(key)).toContain('error ENMESH_CONFIG_VALUE_INVALID');
    expect(keys(key)).toContain('holds no usable public key');
    expect(keys(publicEc, key)).toMatch(/^warning ENMESH_CONFIG_DOUBTFUL [^\n]*$/);
    expect(keys(publicEc, key)).toContain(`keys[1] ${expected}`);
  });

  it.each([
    ['no JSON', '{', 'is not JSON'],
    ['text after the object', '{"keys":[]} x', 'is not JSON'],
    ['no list of keys', '{}', 'must be a JSON object with a list `keys`'],
    ['a single key', JSON.stringify(publicEc), 'a single key goes in {"keys":[...]}'],
    ['no key', '{"keys":[]}', 'holds no usable public key'],
    ['an unknown kind of key', '{"keys":[{"kty":"XYZ"}]}', 'keys[0] has no known `kty`'],
    ['a kind of key from the prototype', '{"keys":[{"kty":"constructor"}]}', 'keys[0] has no known `kty`'],
    ['EC without a curve', '{"keys":[{"kty":"EC","x":"AA","y":"AA"}]}', 'keys[0] has no `crv`'],
    ['bad base64url', '{"keys":[{"kty":"RSA","n":"!","e":"AQAB"}]}', 'keys[0] has no `n` in base64url'],
    ['a kid that is a number', '{"keys":[{"kty":"oct","k":"AAAA","kid":1}]}', 'keys[0] has a `kid` that is no string'],
    ['101 keys', JSON.stringify({ keys: Array(101).fill(publicEc) }), 'holds 101 keys; at most 100 are read'],
  ])('refuses an inline set with %s', (_what, jwks, expected) => {
    const problems = rule({ jwks });
    expect(problems).toContain('error ');
    expect(problems).toContain(expected);
  });

  it('agrees with the verifier on keys that only look right', () => {
    const offCurve = { ...publicEc, y: publicEc['x'] };
    expect(keys(offCurve)).toContain('holds no usable public key, so every token would be refused (none of its keys is valid)');
    expect(keys(publicEc, offCurve)).toContain('1 of its keys are not valid and not used');
    expect(rule({ jwks: `{"keys":[${JSON.stringify(publicEc)}],"keys":[${JSON.stringify(publicEc)}]}` })).toContain('error ');
  });

  it('never tells key material', () => {
    const { d } = jwkOf(ec.privateKey);
    expect(keys({ ...publicEc, d, kty: 'EC' })).not.toContain(String(d).slice(0, 8));
  });

  it.each([
    [
      'neither issuer nor jwksUri',
      { jwtRules: [{ jwks: JSON.stringify({ keys: [publicEc] }) }] },
      'needs an `issuer` or a `jwksUri`',
    ],
    ['an empty issuer', { jwtRules: [{ issuer: '', jwksUri: 'https://a' }] }, 'issuer: must not be empty'],
    ['a null rule', { jwtRules: [null] }, 'spec.jwtRules[0]: must be a map, not null'],
    ['a selector and targetRefs', { selector: {}, targetRefs: [] }, 'only one of'],
  ])('refuses %s', (_what, spec, expected) => {
    expect(validate(spec).problems).toContain(expected);
  });

  it.each([
    ['both key sources', { jwksUri: 'https://a/b', jwks: '{}' }, 'only one of jwks and jwksUri'],
    ['another scheme', { jwksUri: 'file:///etc/passwd' }, 'must be a URL that begins with http:// or https://'],
    ['a port that is no number', { jwksUri: 'http://a:x/' }, 'must be a URL'],
    ['no host', { jwksUri: 'https:///x' }, 'must be a URL'],
    ['a password in the URL', { jwksUri: 'https://u:p@a/' }, 'may not hold a user name or password'],
    ['an empty audience', { audiences: [''] }, 'audiences[0]: must not be empty'],
    ['a header location without a name', { fromHeaders: [{ prefix: 'x' }] }, 'lacks "name"'],
    ['an empty parameter', { fromParams: [''] }, 'must not be empty'],
    ['an empty cookie', { fromCookies: [''] }, 'must not be empty'],
    ['a payload header that is no header', { outputPayloadToHeader: 'a b' }, 'is no name of an HTTP header'],
    ['a pseudo-header', { outputPayloadToHeader: ':path' }, 'is no name of an HTTP header'],
    ['a header that frames the message', { outputPayloadToHeader: 'Content-Length' }, 'may not be a header that frames'],
    ['a claim header with a dot', { outputClaimToHeaders: [{ header: 'a.b', claim: 'c' }] }, 'may only hold letters, digits'],
    ['a claim header without a claim', { outputClaimToHeaders: [{ header: 'a' }] }, 'lacks "claim"'],
    ['a timeout without a unit', { timeout: '5' }, 'is no duration (write a number and a unit, such as 5s)'],
    ['a timeout that is too short', { timeout: '1ns' }, 'must be at least 1ms'],
    ['a flag of YAML 1.1', { forwardOriginalToken: 'yes' }, 'must be true or false'],
    ['65 claims', { spaceDelimitedClaims: Array(65).fill('a') }, 'at most 64'],
    ['presence, since it is not enforced', { presence: 'REQUIRED' }, 'ENMESH_CONFIG_UNSUPPORTED'],
    ['a misspelt field', { jwksURL: 'https://a' }, 'did you mean "jwksUri"?'],
  ])('refuses %s', (_what, fields, expected) => {
    const problems = rule(fields);
    expect(problems).toContain('error ');
    expect(problems).toContain(expected);
  });
});
