import { describe, expect, it } from 'vitest';
import { removeQueryParameters } from './payload-header.js';

describe('taking a token parameter from the query', () => {
  it.each([
    ['?b=2&a=1&access_token=t&c=%2f', ['access_token'], '?a=1&b=2&c=/'],
    ['?access_token=t', ['access_token'], ''],
    ['?x&access_token=t', ['access_token'], '?x='],
    ['?access%5Ftoken=t&a=1', ['access_token'], '?a=1'],
    ['?access_token=t&access_token=u&a=1', ['access_token'], '?a=1'],
    ['?a=1', [], '?a=1'],
    ['', ['access_token'], ''],
    ['?', ['access_token'], '?'],
  ])('writes %s anew without %j as %s', (query, names, expected) => {
    expect(removeQueryParameters(query, names)).toBe(expected);
  });

  it('keeps delimiters inside a value encoded, so that no parameter appears that was not judged', () => {
    expect(removeQueryParameters('?a=1%26admin%3Dtrue&access_token=t', ['access_token'])).toBe('?a=1%26admin%3Dtrue');
    expect(removeQueryParameters('?a=%23x%20y%0d%0az&access_token=t', ['access_token'])).toBe('?a=%23x%20y%0D%0Az');
  });

  it('keeps a plus and an escaped plus apart, because only one of them may be a blank', () => {
    expect(removeQueryParameters('?q=a+b%2Bc%20d&access_token=t&x+y%2b', ['access_token'])).toBe('?q=a+b%2Bc%20d&x+y%2B=');
  });

  it('leaves alone what is not valid percent-encoding', () => {
    expect(removeQueryParameters('?a=%zz&access_token=t', ['access_token'])).toBe('?a=%25zz');
  });
});
