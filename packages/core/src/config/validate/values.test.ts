import { describe, expect, it } from 'vitest';
import { findHostBits, isDnsLabel, isHostPattern, isIpBlock, isObjectName, isPortText, parseDuration } from './values.js';

describe('values', () => {
  it.each(['1.2.3.4', '1.2.3.4/0', '1.2.3.4/32', '::', '::1/128', 'fe80::1%eth0', '::ffff:1.2.3.4'])(
    'takes %s for an address',
    (value) => {
      expect(isIpBlock(value)).toBe(true);
    },
  );

  it.each([
    '',
    '1.2.3',
    '1.2.3.4/',
    '1.2.3.4/33',
    '1.2.3.4/032',
    '1.2.3.4/-1',
    '1.2.3.4/8/8',
    '::1/129',
    'fe80::1%eth0/64',
    '01.2.3.4',
    ' 1.2.3.4',
    '1.2.3.4\n',
    '[::1]',
    '*',
  ])('takes %j for no address', (value) => {
    expect(isIpBlock(value)).toBe(false);
  });

  it.each(['0', '80', '0080', '65535', '00000000000080'])('takes %s for a port', (value) => {
    expect(isPortText(value)).toBe(true);
  });

  it.each(['', '+80', '-1', '65536', '8*', '80-90', '1e3', ' 80', '80\n', '٣'])('takes %j for no port', (value) => {
    expect(isPortText(value)).toBe(false);
  });

  it.each([
    ['5s', 5000],
    ['1m30s', 90_000],
    ['1.5s', 1500],
    ['100ms', 100],
    ['1ns', 1e-6],
    ['1h', 3_600_000],
    ['0s', 0],
    ['.5s', 500],
    ['2.s', 2000],
    ['+5s', 5000],
    ['3µs', 3e-3],
    ['3μs', 3e-3],
  ])('reads %s as %d ms', (value, expected) => {
    expect(parseDuration(value)).toBeCloseTo(expected, 9);
  });

  it.each(['', '5', 's', '5 s', '-5s', '5d', 'apple', '.s', '+', '1s5', '--5s', '1'.repeat(50) + 's'])(
    'takes %j for no duration',
    (value) => {
      expect(parseDuration(value)).toBeUndefined();
    },
  );

  it.each([
    ['a', true],
    ['a-b', true],
    ['a.b', false],
    ['-a', false],
    ['a-', false],
    ['A', false],
    ['', false],
    ['a\n', false],
    ['x'.repeat(64), false],
  ])('says of the label %j: %s', (value, expected) => {
    expect(isDnsLabel(value)).toBe(expected);
  });

  it.each([
    ['a.b-c', true],
    ['a..b', false],
    ['.a', false],
    ['a_b', false],
    ['x'.repeat(254), false],
  ])('says of the object name %j: %s', (value, expected) => {
    expect(isObjectName(value)).toBe(expected);
  });

  it.each([
    ['example.com', true],
    ['example.com.', true],
    ['*.example.com', true],
    ['*', true],
    ['Product', true],
    ['a.*.b', false],
    ['a b', false],
    ['http://a', false],
    ['a:80', false],
    ['', false],
    ['.', false],
  ])('says of the host %j: %s', (value, expected) => {
    expect(isHostPattern(value)).toBe(expected);
  });

  it.each([
    ['10.0.0.0/8', false],
    ['10.1.2.3/8', true],
    ['10.1.2.3', false],
    ['10.1.2.3/32', false],
    ['0.0.0.0/0', false],
    ['1.0.0.0/0', true],
    ['2001:db8::/32', false],
    ['2001:db8::1/32', true],
    ['::ffff:10.0.0.0/104', false],
    ['::ffff:10.0.0.1/104', true],
    ['::/0', false],
    ['nonsense/8', false],
  ])('sees bits behind the length of %s: %s', (value, expected) => {
    expect(findHostBits(value) !== undefined).toBe(expected);
  });
});
