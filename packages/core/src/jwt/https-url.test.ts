import { describe, expect, it } from 'vitest';
import { httpsUrlFault } from './https-url.js';

describe('httpsUrlFault', () => {
  it.each([
    ['https://partner.example/bundle', undefined],
    ['https://[2001:db8::1]:8443/', undefined],
    ['partner.example/bundle', 'is no URL'],
    ['http://partner.example/', 'is not https'],
    ['https://me:secret@partner.example/', 'has a user'],
    ['https://169.254.169.254/', 'is a link-local or metadata address'],
    ['https://[fe80::1]/', 'is a link-local or metadata address'],
    ['https://2852039166/', 'is a link-local or metadata address'],
  ])('says of %s: %s', (text, fault) => {
    expect(httpsUrlFault(text)).toBe(fault);
  });

  it('reads a relative reference by its base', () => {
    expect(httpsUrlFault('/next', new URL('https://partner.example/bundle'))).toBeUndefined();
    expect(httpsUrlFault('http://partner.example/', new URL('https://partner.example/bundle'))).toBe('is not https');
  });
});
