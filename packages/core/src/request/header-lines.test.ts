import { describe, expect, it } from 'vitest';
import { headerLines, remoteAddress } from './header-lines.js';

describe('the lines of a header', () => {
  const raw = [
    'Host',
    'a',
    'X-Role',
    'one',
    'x-role',
    'two',
    'Accept',
    'a',
    'ACCEPT',
    '',
    'accept',
    'b',
    'X-Empty',
    '',
    'Via',
    '',
    'x_role',
    'three',
  ];

  it.each([
    ['x-role', ['one', 'two']],
    ['accept', ['a,b']],
    ['host', ['a']],
    ['x-empty', ['']],
    ['via', ['']],
    ['x_role', ['three']],
    ['x-rol', undefined],
    ['cookie', undefined],
  ])('%s are %j', (name, lines) => {
    expect(headerLines(raw, name)).toEqual(lines);
  });

  it('join into an empty one when all lines of a joined name are empty', () => {
    expect(headerLines(['Via', '', 'Via', ''], 'via')).toEqual(['']);
  });

  it('end at a name without a value', () => {
    expect(headerLines(['x'], 'x')).toBeUndefined();
  });
});

describe('the remote address', () => {
  const peer = '10.0.0.9';
  it.each<readonly [readonly string[] | undefined, string]>([
    [undefined, peer],
    [['203.0.113.7'], '203.0.113.7'],
    [['198.51.100.1, 203.0.113.7'], '203.0.113.7'],
    [['198.51.100.1', '203.0.113.7'], '203.0.113.7'],
    [['203.0.113.7', ''], '203.0.113.7'],
    [['2001:db8::1'], '2001:db8::1'],
    [['::ffff:203.0.113.7'], '::ffff:203.0.113.7'],
    [[' \t203.0.113.7 '], '203.0.113.7'],
    [['203.0.113.7,'], peer],
    [['203.0.113.7, unknown'], peer],
    [['203.0.113.7:1234'], peer],
    [['[2001:db8::1]'], peer],
    [['203.0.113.007'], peer],
    [['fe80::1%eth0'], peer],
    [['203.0.113'], peer],
    [[''], peer],
  ])('of x-forwarded-for %j is %s', (lines, address) => {
    expect(remoteAddress(lines, peer)).toBe(address);
  });
});
