import { describe, expect, it } from 'vitest';
import { decodeBase64url, isCanonicalBase64url } from './base64url.js';

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

describe('canonical base64url', () => {
  it('accepts, of all texts of two characters, exactly the 256 spellings of one octet', () => {
    const accepted = [...alphabet].flatMap((a) => [...alphabet].map((b) => a + b)).filter(isCanonicalBase64url);
    expect(accepted).toEqual(
      Array.from({ length: 256 }, (_, octet) => Buffer.from([octet]).toString('base64url')).sort(
        (a, b) =>
          alphabet.indexOf(a.charAt(0)) - alphabet.indexOf(b.charAt(0)) ||
          alphabet.indexOf(a.charAt(1)) - alphabet.indexOf(b.charAt(1)),
      ),
    );
  });

  it('accepts a third character only when its last two bits are zero', () => {
    const accepted = [...alphabet].filter((last) => isCanonicalBase64url(`AA${last}`));
    expect(accepted).toEqual([...alphabet].filter((_, index) => index % 4 === 0));
  });

  it.each(['', 'A', 'AAAAA', 'AA==', 'AAA=', 'AA AA', 'AAAA\n', ' AAAA', 'AA+A', 'AA/A', 'AAéA', 'AA.A'])(
    'refuses %j',
    (text) => {
      expect(decodeBase64url(text)).toBeUndefined();
    },
  );

  it('decodes what it accepts', () => {
    expect(decodeBase64url('_-8')?.toString('hex')).toBe('ffef');
    expect(decodeBase64url('Zm9v')?.toString()).toBe('foo');
  });
});
