import { describe, expect, it } from 'vitest';
import { namedToken, tokenInLine } from './locations.js';
import { cookieValue, queryValue } from './parameters.js';
import { isCorsPreflight } from './preflight.js';

describe('a token in a header line', () => {
  it.each([
    ['Bearer a.b.c', 'Bearer ', 'a.b.c'],
    ['Bearer   a.b.c', 'Bearer ', 'a.b.c'],
    ['Bearer "a.b.c', 'Bearer ', 'a.b.c'],
    ['Bearer a.b.c, Bearer d.e.f', 'Bearer ', 'a.b.c, Bearer d.e.f'],
    ['Basic x,Bearer a.b.c', 'Bearer ', 'a.b.c'],
    ['xBearer a.b.c', 'Bearer ', 'a.b.c'],
    ['Bearer a.b.c x', 'Bearer ', 'a.b.c x'],
    ['Bearer !!!.b.c', 'Bearer ', '.b.c'],
    ['Bearer _a', 'Bearer ', '_a'],
    ['Bearer -a', 'Bearer ', '-a'],
    ['Bearer !', 'Bearer ', 'Bearer !'],
    ['Bearer {a', 'Bearer ', 'a'],
    ['Bearer [`^@{}a', 'Bearer ', 'a'],
    ['bearer a.b.c', 'Bearer ', undefined],
    ['Bearer', 'Bearer ', undefined],
    ['', 'Bearer ', undefined],
    ['Bearer a.b.c', '', 'Bearer a.b.c'],
    ['', '', ''],
    ['istioa.b.c', 'istio', 'a.b.c'],
  ])('in %j after %j is %j', (line, prefix, token) => {
    expect(tokenInLine(line, prefix)).toBe(token);
  });
});

describe('a parameter', () => {
  it.each([
    ['access_token=a.b.c', 'a.b.c'],
    ['x=1&access_token=a&access_token=b', 'a'],
    ['%61ccess%5Ftoken=a%2Eb', 'a.b'],
    ['access_token', ''],
    ['access_token=', ''],
    ['access_token=a=b', 'a=b'],
    ['access_token=a%zzb%4', 'a%zzb%4'],
    ['access_token=a+b', 'a+b'],
    ['access_token2=a&xaccess_token=b', undefined],
    ['ACCESS_TOKEN=a', undefined],
    ['x=access_token', undefined],
    ['', undefined],
  ])('in %j reads as %j', (query, value) => {
    expect(queryValue(query, 'access_token')).toBe(value);
    expect(namedToken({ header: () => undefined, query }, 'param', 'access_token')).toBe(value);
  });
});

describe('a cookie', () => {
  it.each([
    [['a=1; session=a.b.c; b=2'], 'a.b.c'],
    [['session="a.b.c"'], 'a.b.c'],
    [['a=1', 'session=x', 'session=y'], 'x'],
    [['session=a=b'], 'a=b'],
    [['session='], ''],
    [['session="'], '"'],
    [['xsession=1; sessionx=2; session'], undefined],
    [[], undefined],
  ])('in %j is %j', (lines, value) => {
    expect(cookieValue(lines, 'session')).toBe(value);
  });
});

describe('a CORS preflight', () => {
  const headers = (lines: Record<string, string[]>) => (name: string) => lines[name];
  it.each([
    ['OPTIONS', { origin: ['https://a'], 'access-control-request-method': ['GET'] }, true],
    ['GET', { origin: ['https://a'], 'access-control-request-method': ['GET'] }, false],
    ['options', { origin: ['https://a'], 'access-control-request-method': ['GET'] }, false],
    ['OPTIONS', { origin: ['https://a'] }, false],
    ['OPTIONS', { origin: [''], 'access-control-request-method': ['GET'] }, false],
    ['OPTIONS', { origin: ['https://a'], 'access-control-request-method': [''] }, false],
  ])('%s %j: %s', (method, lines, expected) => {
    expect(isCorsPreflight(method, headers(lines as Record<string, string[]>))).toBe(expected);
  });
});
