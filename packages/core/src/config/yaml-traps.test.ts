import { describe, expect, it } from 'vitest';
import { kubernetesReading } from './yaml-traps.js';

describe('kubernetesReading', () => {
  it.each(['y', 'Y', 'n', 'N', 'yes', 'Yes', 'YES', 'no', 'No', 'NO', 'on', 'On', 'ON', 'off', 'Off', 'OFF'])(
    'finds that %s is a boolean to Kubernetes',
    (word) => {
      expect(kubernetesReading(word)).toBe('a boolean');
    },
  );

  it.each([
    ['1_000', 'a number without the underscores'],
    ['-1_0.5', 'a number without the underscores'],
    ['0x_1F', 'a number without the underscores'],
    ['0b101', 'a number'],
    ['-0x1F', 'a number'],
    ['0X1F', 'a number'],
    ['010', 'an octal number'],
    ['-017', 'an octal number'],
  ])('finds that %s is %s to Kubernetes', (word, reading) => {
    expect(kubernetesReading(word)).toBe(reading);
  });

  it.each([
    'GET',
    'yEs',
    'none',
    'o',
    'nobody',
    'on-call',
    '0',
    '80',
    '0x1F',
    '0o17',
    '1.5',
    '0.5',
    '1e3',
    '12:30:45',
    '1.2.3.4',
    '10.0.0.0/8',
    '_1',
    '-',
    '',
    '/a',
    '2024-01-01',
    '1a_',
    '~',
  ])('finds nothing in %j, which both read alike', (word) => {
    expect(kubernetesReading(word)).toBeUndefined();
  });
});
