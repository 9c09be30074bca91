import { describe, expect, it } from 'vitest';
import { nearest, spellingHint } from './spelling.js';

const fields = ['principals', 'notPrincipals', 'requestPrincipals', 'namespaces', 'ipBlocks', 'remoteIpBlocks'];

describe('nearest', () => {
  it.each([
    ['principal', 'principals'],
    ['princpials', 'principals'],
    ['PRINCIPALS', 'principals'],
    ['not_principals', 'notPrincipals'],
    ['namesapces', 'namespaces'],
    ['ipblock', 'ipBlocks'],
  ])('takes %s for %s', (word, expected) => {
    expect(nearest(word, fields)).toBe(expected);
  });

  it.each(['x', 'methods', '', 'p'.repeat(1000)])('finds nothing near %j', (word) => {
    expect(nearest(word, fields)).toBeUndefined();
  });

  it('prefers the nearest of several', () => {
    expect(nearest('jwks', ['jwksUri', 'jwkss', 'jw'])).toBe('jwkss');
  });
});

describe('spellingHint', () => {
  it('lists what is known where nothing is near', () => {
    expect(spellingHint('zzz', ['mtls', 'selector'])).toBe('known here: mtls, selector');
  });
});
