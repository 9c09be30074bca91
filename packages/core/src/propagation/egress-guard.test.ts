import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { requestIdentity } from '../jwt/outputs.js';
import { compileJwtRules } from '../jwt/rules.js';
import { parseToken } from '../jwt/token.js';
import { runInContext } from './context.js';
import { createEgressGuard, type CallGuard, type EgressGuardMode } from './egress-guard.js';
import { createTokenTraces } from './egress-traces.js';

const b64 = (text: string): string => Buffer.from(text).toString('base64');
const b64url = (text: string): string => Buffer.from(text).toString('base64url');
const percent = (text: string): string => [...Buffer.from(text)].map((code) => `%${code.toString(16).padStart(2, '0')}`).join('');
const upper = (text: string): string => percent(text).toUpperCase();

// Payload and signature with all of the alphabet in them.
const json = '{"iss":"https://idp.test","sub":"alice","canary":"\u00fcml\u20ac>>>???~~~"}';
const payload = b64url(json);
const signature = Buffer.from(Array.from({ length: 64 }, (_, i) => (i * 37 + 251) % 256)).toString('base64url');
const token = `${b64url('{"alg":"ES256","kid":"k1"}')}.${payload}.${signature}`;

const meta = { kind: 'RequestAuthentication', namespace: 'shop', name: 'jwt', creationTimestamp: 0, labels: {}, annotations: {} };
const { rules } = compileJwtRules(
  [
    {
      meta: { ...meta, source: { file: 'j', line: 1, column: 1 } },
      spec: { jwtRules: [{ issuer: 'https://idp.test', jwksUri: 'https://idp.test/jwks' }] },
    },
  ],
  { namespace: 'shop', labels: {} },
  'istio-system',
);

function during<T>(mode: EgressGuardMode, act: (guard: CallGuard | undefined) => T, bodies = false): T {
  const parsed = parseToken(
    `${b64url('{"alg":"ES256","kid":"k1"}')}.${b64url('{"iss":"https://idp.test","sub":"alice"}')}.${signature}`,
  );
  if (!parsed.ok) throw new Error('no token');
  const user = requestIdentity(parsed, rules[0]!);
  return runInContext({ peer: undefined, user, actors: [] }, () => act(createEgressGuard({ mode, bodies })?.current()));
}
const raw = `${b64url('{"alg":"ES256","kid":"k1"}')}.${b64url('{"iss":"https://idp.test","sub":"alice"}')}.${signature}`;

describe('the traces of a token', () => {
  const forms: [string, (text: string) => string][] = [
    ['plain', (text) => text],
    ['percent-encoded', percent],
    ['percent-encoded in capitals', upper],
    ['percent-encoded by encodeURIComponent', encodeURIComponent],
    ['in base64', b64],
    ['in base64url', b64url],
    ['in base64 behind one octet', (text) => b64(`x${text}`)],
    ['in base64 behind two octets', (text) => b64(`xy${text}`)],
    ['in base64 glued to a word', (text) => `abc${b64(text)}`],
    ['in base64 of base64url', (text) => b64(b64url(text))],
    ['in base64, percent-encoded', (text) => encodeURIComponent(b64(text))],
    ['percent-encoded twice', (text) => encodeURIComponent(percent(text))],
  ];
  const parts: [string, string][] = [
    ['the token', token],
    ['the payload segment', payload],
    ['the payload in the other alphabet', b64(json)],
    ['the JSON of the payload', json],
    ['the signature segment', signature],
    ['the signed part', token.slice(0, token.lastIndexOf('.'))],
  ];
  const { find } = createTokenTraces(token);
  it.each(forms)('are found %s, alone and within other text', (_, encode) => {
    for (const [part, text] of parts) {
      expect(find(encode(text)), part).toBeDefined();
      expect(find(`session=1; t=${encode(text)}; theme=dark`), part).toBeDefined();
    }
  });

  it('are not found in other tokens of the same issuer, in identifiers, or in random text', () => {
    const other = `${token.split('.')[0]}.${b64url('{"iss":"https://idp.test","sub":"bob","canary":"none of this"}')}.${Buffer.alloc(64, 9).toString('base64url')}`;
    for (const value of [
      other,
      b64(other),
      encodeURIComponent(other),
      '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
      token.split('.')[0]!,
      'a'.repeat(5000),
      b64('b'.repeat(5000)),
      '%'.repeat(3000),
      '',
    ])
      expect(find(value)).toBeUndefined();
  });

  it('are looked for in time that grows with the length of the value alone', () => {
    const started = process.cpuUsage();
    find(`${'%41'.repeat(20_000)}${b64('x'.repeat(60_000))}`);
    expect(process.cpuUsage(started).user / 1000).toBeLessThan(1500);
  });
});

describe('the egress guard', () => {
  const call = (path: string, headers: Record<string, unknown> = {}) => ({ path, headers: Object.entries(headers) });

  it.each([
    ['a header', call('/', { 'X-Copy': `Bearer ${raw}` }), 'header x-copy'],
    ['one of several lines', call('/', { 'x-copy': ['a', raw] }), 'header x-copy'],
    ['octets', call('/', { 'x-copy': Buffer.from(raw) }), 'header x-copy'],
    ['a cookie', call('/', { cookie: `a=1; t=${encodeURIComponent(raw)}` }), 'header cookie'],
    ['the name of a header', call('/', { [raw]: '1' }), 'with an unusual name'],
    ['the query', call(`/a?t=${raw}`), 'its URL'],
    ['the path', call(`/a/${raw}/b`), 'its URL'],
  ])('refuses a call with the token in %s, in words that do not repeat it', (_, outgoing, place) => {
    const error = during('refuse', (guard) => {
      try {
        guard?.inspect(outgoing);
      } catch (thrown) {
        return thrown;
      }
      return undefined;
    });
    expect(error).toMatchObject({ code: 'ENMESH_PROPAGATION_EGRESS', message: expect.stringContaining(place) });
    expect(inspect(error, { depth: 9 })).not.toContain(signature);
  });

  it('lets calls go that carry nothing, without a word', () => {
    expect(
      during('refuse', (guard) => guard?.inspect(call('/a?b=1', { accept: '*/*', cookie: `s=${'f'.repeat(200)}` }))),
    ).toBeUndefined();
  });

  it('strips headers, single cookies and single parameters, and refuses where the path itself is the token', () => {
    during('strip', (guard) => {
      expect(guard?.inspect(call(`/a?x=1&t=${raw}&y=2`, { 'X-Copy': raw, cookie: `a=1; t=${raw}; b=2`, accept: '*/*' }))).toEqual(
        {
          without: new Set(['x-copy', 'cookie']),
          cookie: 'a=1; b=2',
          path: '/a?x=1&y=2',
        },
      );
      expect(guard?.inspect(call('/', { cookie: `t=${raw}` }))).toEqual({
        without: new Set(['cookie']),
        cookie: undefined,
        path: '/',
      });
      expect(() => guard?.inspect(call(`/a/${raw}`))).toThrow(/its path/);
    });
  });

  it('looks at the first 64 KiB of bodies when it is asked to', () => {
    expect(during('refuse', (guard) => guard?.checkBody)).toBeUndefined();
    during(
      'refuse',
      (guard) => {
        expect(() => guard?.checkBody?.(JSON.stringify({ token: raw }))).toThrow(/its body/);
        expect(() => guard?.checkBody?.(Buffer.from(JSON.stringify({ token: b64(raw) })))).toThrow(/its body/);
        guard?.checkBody?.(Buffer.concat([Buffer.alloc(65_536, '.'), Buffer.from(raw)]));
      },
      true,
    );
  });

  it('is not there when it is off, without a request and for a request without a token', () => {
    expect(during('off', (guard) => guard)).toBeUndefined();
    expect(createEgressGuard({ mode: 'refuse', bodies: true })?.current()).toBeUndefined();
    const anonymous = { peer: undefined, user: undefined, actors: [] };
    expect(runInContext(anonymous, () => createEgressGuard({ mode: 'refuse', bodies: true })?.current())).toBeUndefined();
  });
});
