import { describe, expect, it } from 'vitest';
import { parseDer } from './der.js';
import { formatDistinguishedName } from './distinguished-name.js';

const tlv = (tag: number, content: Buffer): Buffer => Buffer.concat([Buffer.of(tag, content.length), content]);
const cn = Buffer.from('0603550403', 'hex');
const o = Buffer.from('060355040a', 'hex');
const attribute = (oid: Buffer, tag: number, value: string): Buffer =>
  tlv(0x30, Buffer.concat([oid, tlv(tag, Buffer.from(value, 'latin1'))]));
const format = (...parts: Buffer[][]): string =>
  formatDistinguishedName(parseDer(tlv(0x30, Buffer.concat(parts.map((part) => tlv(0x31, Buffer.concat(part)))))));

describe('formatDistinguishedName', () => {
  it.each([
    ['', format()],
    ['CN=a,O=b', format([attribute(o, 0x13, 'b')], [attribute(cn, 0x0c, 'a')])],
    ['CN=a+O=b', format([attribute(o, 0x13, 'b'), attribute(cn, 0x13, 'a')])],
    ['CN=\\ a\\,b\\+c\\"d\\\\e\\<f\\>g\\;h=\\ ', format([attribute(cn, 0x13, ' a,b+c"d\\e<f>g;h= ')])],
    ['CN=\\#1 #2', format([attribute(cn, 0x13, '#1 #2')])],
    ['CN=a\\00b\\0A', format([attribute(cn, 0x13, 'a\0b\n')])],
    ['CN=\\C3\\BC', format([attribute(cn, 0x14, '\xfc')])],
    ['CN=\\E2\\82\\AC', format([attribute(cn, 0x1e, '\x20\xac')])],
    ['CN=#0401FF', format([attribute(cn, 0x04, '\xff')])],
    ['2.5.4.99=#130161', format([attribute(Buffer.from('0603550463', 'hex'), 0x13, 'a')])],
  ])('writes %s', (expected, written) => {
    expect(written).toBe(expected);
  });

  it.each([
    ['what is no UTF-8', () => format([attribute(cn, 0x0c, '\xff')])],
    ['half a BMP character', () => format([attribute(cn, 0x1e, 'abc')])],
    ['an attribute without value', () => format([tlv(0x30, cn)])],
  ])('refuses %s', (_, write) => {
    expect(write).toThrow(expect.objectContaining({ code: 'ENMESH_X509_MALFORMED' }));
  });
});
