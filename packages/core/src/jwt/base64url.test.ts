import { describe, expect, it } from 'vitest';
import { createScratch, decodeBase64url, decodeBase64urlBriefly, isCanonicalBase64url } from './base64url.js';

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

  it('is decoded by the quick reader and by the plain one alike', () => {
    // Characters whose lower half is a letter of the alphabet, of the other alphabet, and what decoders pass over or stop at.
    const odd = ['=', '+', '/', ' ', '\n', '.', '\0', 'é', '\u0141', '\u2028', '\u7641', '\ud841', '\uff3f', '~'];
    const texts = ['', 'A', 'AA', 'AAA', 'AAAA', 'AAAAA', '_-8', 'Zm9v', 'AB', 'AAB', 'A'.repeat(64), `${'A'.repeat(62)}B`];
    const spoilt = texts.flatMap((text) =>
      odd.flatMap((character) =>
        [0, 1, text.length - 1, text.length].flatMap((at) => [
          text.slice(0, at) + character + text.slice(at),
          text.slice(0, at) + character + text.slice(at + 1),
          text.slice(0, at) + character + text.slice(at + 3),
        ]),
      ),
    );
    const scratch = createScratch();
    for (const text of [...texts, ...spoilt, 'A'.repeat(20_000), `${'A'.repeat(19_999)}!`])
      expect(decodeBase64urlBriefly(text, scratch)?.toString('hex'), JSON.stringify(text)).toBe(
        decodeBase64url(text)?.toString('hex'),
      );
  });

  it('decodes what it accepts', () => {
    expect(decodeBase64url('_-8')?.toString('hex')).toBe('ffef');
    expect(decodeBase64url('Zm9v')?.toString()).toBe('foo');
  });
});
