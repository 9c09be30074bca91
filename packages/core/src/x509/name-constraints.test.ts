import { describe, expect, it } from 'vitest';
import { isNameAllowed, readNameConstraints, type NameConstraints } from './name-constraints.js';
import type { OtherSan } from './subject-alt-name.js';

const tlv = (tag: number, content: Buffer): Buffer => Buffer.concat([Buffer.of(tag, content.length), content]);
const name = (tag: number, text: string): Buffer => tlv(0x30, tlv(tag, Buffer.from(text, 'latin1')));
const uri = (base: string): Buffer => name(0x86, base);
const dns = (base: string): Buffer => name(0x82, base);
const read = (permitted: Buffer[], excluded: Buffer[] = []): NameConstraints => {
  const parts = [
    ...(permitted.length > 0 ? [tlv(0xa0, Buffer.concat(permitted))] : []),
    ...(excluded.length > 0 ? [tlv(0xa1, Buffer.concat(excluded))] : []),
  ];
  const constraints = readNameConstraints({ critical: true, value: tlv(0x30, Buffer.concat(parts)) });
  if (constraints === undefined) throw new Error('no constraints');
  return constraints;
};
const names = (uriSans: string[], dnsSans: string[] = [], subject = '', others: OtherSan[] = []) => ({
  uriSans,
  dnsSans,
  subject,
  otherSans: new Set(others),
});

const id = 'spiffe://td.example/ns/a/sa/b';

describe('isNameAllowed', () => {
  it.each<[string, NameConstraints, ReturnType<typeof names>, boolean]>([
    ['the trust domain permitted', read([uri('td.example')]), names([id]), true],
    ['another one permitted', read([uri('other.example')]), names([id]), false],
    ['one of two permitted', read([uri('other.example'), uri('td.example')]), names([id]), true],
    ['the parent alone, which is another host', read([uri('example')]), names([id]), false],
    ['all below the parent', read([uri('.example')]), names([id]), true],
    ['all below the name itself', read([uri('.td.example')]), names([id]), false],
    ['in upper case', read([uri('TD.Example')]), names([id]), true],
    ['a longer host with the same end', read([uri('d.example')]), names([id]), false],
    ['the trust domain excluded', read([], [uri('td.example')]), names([id]), false],
    ['another one excluded', read([], [uri('other.example')]), names([id]), true],
    ['permitted and excluded', read([uri('.example')], [uri('td.example')]), names([id]), false],
    ['DNS names constrained, none there', read([dns('a.example')]), names([id]), true],
    ['DNS name below', read([dns('a.example')]), names([id], ['x.a.example', 'A.EXAMPLE']), true],
    ['DNS name beside', read([dns('a.example')]), names([id], ['x.a.example', 'ba.example']), false],
    ['DNS name excluded', read([], [dns('a.example')]), names([id], ['x.a.example']), false],
    ['every DNS name excluded', read([], [dns('')]), names([id], ['x']), false],
    ['a URI without host under a URI constraint', read([uri('td.example')]), names(['urn:a:b']), false],
    ['a wildcard under a DNS constraint', read([dns('a.example')]), names([id], ['*.a.example']), false],
    ['a DNS name that begins with a dot', read([dns('a.example')]), names([id], ['.a.example']), false],
    ['subject constrained, subject empty', read([name(0xa4, '')]), names([id]), true],
    ['subject constrained, subject there', read([name(0xa4, '')]), names([id], [], 'CN=a'), false],
    ['e-mail constrained, e-mail in the subject', read([name(0x81, 'a.example')]), names([id], [], 'emailAddress=a@b'), false],
    ['an address constrained, subject there', read([], [name(0x87, '12345678')]), names([id], [], 'CN=a'), true],
    ['an address constrained, an address there', read([], [name(0x87, '12345678')]), names([id], [], '', ['ipAddress']), false],
  ])('judges %s', (_, constraints, subject, allowed) => {
    expect(isNameAllowed(constraints, subject)).toBe(allowed);
  });
});

describe('readNameConstraints', () => {
  it('knows none where there is no extension', () => {
    expect(readNameConstraints(undefined)).toBeUndefined();
  });

  it.each([
    ['nothing in it', tlv(0x30, Buffer.alloc(0))],
    ['a distance', tlv(0x30, tlv(0xa0, tlv(0x30, Buffer.concat([tlv(0x86, Buffer.from('a')), Buffer.of(0x80, 1, 1)]))))],
    ['the wrong order', tlv(0x30, Buffer.concat([tlv(0xa1, uri('a')), tlv(0xa0, uri('a'))]))],
    ['an empty list', tlv(0x30, Buffer.concat([tlv(0xa0, uri('a')), tlv(0xa1, Buffer.alloc(0))]))],
    ['a DNS base that begins with a dot', tlv(0x30, tlv(0xa0, dns('.a')))],
    ['a base of no known kind', tlv(0x30, tlv(0xa0, name(0x89, 'a')))],
    ['a base with NUL', tlv(0x30, tlv(0xa0, uri('a\0b')))],
  ])('refuses %s', (_, value) => {
    expect(() => readNameConstraints({ critical: true, value })).toThrow(
      expect.objectContaining({ code: 'ENMESH_X509_MALFORMED' }),
    );
  });
});
