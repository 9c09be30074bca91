import { describe, expect, it } from 'vitest';
import type { RequestIdentity } from '../identity/caller.js';
import { tellActors, tellText, tellUser, traceOf } from './audit-text.js';

const user = (claims: Record<string, unknown>): RequestIdentity => ({
  principal: 'https://idp/jane',
  issuer: 'https://idp',
  subject: 'jane',
  audiences: [],
  presenter: undefined,
  claims,
  payload: '',
  expiresAt: Infinity,
});

describe('what is told of a text', () => {
  const jwt = 'eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJqYW5lIn0.c2lnbmF0dXJl';
  it.each([
    [`/reset/${jwt}/now`, '/reset/[token]/now'],
    [`a ${Buffer.from(jwt).toString('base64')} b`, 'a [token] b'],
    ['agent Bearer abc.def', 'agent Bearer [secret]'],
    ['basic+amFuZTpwdw==', 'basic [secret]'],
    ['/products/1', '/products/1'],
    ['Mozilla/5.0 (X11; Linux x86_64)', 'Mozilla/5.0 (X11; Linux x86_64)'],
  ])('%j is %j', (text, expected) => expect(tellText(text, 1000)).toBe(expected));

  it('is no more than its bound, and takes no long time over any text', () => {
    expect(tellText('x'.repeat(5000), 10)).toBe(`${'x'.repeat(10)}...`);
    const startedAt = process.cpuUsage().user;
    for (const piece of ['eyJ', 'eyJ.', 'Bearer ', 'bearer', '=', 'eyJaaaaaaaa.']) tellText(piece.repeat(1000), 1024);
    expect(process.cpuUsage().user - startedAt).toBeLessThan(100_000);
  });
});

describe('what is told of a user', () => {
  it('is issuer, subject and the listed claims: texts, numbers, lists of these, cut', () => {
    const claims = {
      groups: ['a', { b: 1 }, 2],
      tier: 'x'.repeat(500),
      age: 3,
      email: 'j@x',
      address: { street: 'y' },
      __proto__: null,
    };
    expect(tellUser(user(claims), ['groups', 'tier', 'age', 'address', 'absent', 'toString', 'constructor'])).toEqual({
      issuer: 'https://idp',
      subject: 'jane',
      claims: { groups: ['a', 2], tier: 'x'.repeat(256), age: 3 },
    });
  });

  it('is who carried them: those of a hop token, else those of the own token from outside in', () => {
    const act = { sub: 'outer', act: { sub: 'inner' } };
    expect(tellActors(user({ act }), ['spiffe://a'])).toEqual(['spiffe://a']);
    expect(tellActors(user({ act }), [])).toEqual(['outer', 'inner']);
    expect(tellActors(user({}), undefined)).toEqual([]);
    expect(tellActors(user({ act: 'x' }), undefined)).toEqual([]);
    let deep: object = { sub: 'last' };
    for (let at = 0; at < 50; at++) deep = { sub: 'again', act: deep };
    expect(tellActors(user({ act: deep }), undefined)).toEqual([]);
  });
});

describe('ids of a request', () => {
  const of = (headers: Record<string, string>) => traceOf((name) => headers[name]);
  it('are told where they have the form of ids', () => {
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    expect(of({ 'x-request-id': 'a-1', traceparent })).toEqual({ requestId: 'a-1', traceparent });
    expect(of({ 'x-request-id': 'a b', traceparent: 'x' })).toEqual({ requestId: undefined, traceparent: undefined });
    expect(of({ 'x-request-id': 'x'.repeat(200) })).toEqual({ requestId: undefined, traceparent: undefined });
  });
});
