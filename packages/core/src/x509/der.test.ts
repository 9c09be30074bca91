import { describe, expect, it } from 'vitest';
import { derChildren, parseDer, type DerElement } from './der.js';
import { readBoolean, readIntegerHex, readNamedBits, readOid, readTime } from './der-values.js';

const malformed = expect.objectContaining({ code: 'ENMESH_X509_MALFORMED' });
const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');
const element = (text: string): DerElement => parseDer(hex(text));

describe('parseDer', () => {
  it('reads short and long lengths without copying', () => {
    const bytes = hex(`30 81 80 ${'00'.repeat(128)}`);
    const read = parseDer(bytes);
    expect(read.content).toHaveLength(128);
    expect(read.content.buffer).toBe(bytes.buffer);
    expect(derChildren(element('30 06 02 01 01 02 01 02')).map(({ content }) => content[0])).toEqual([1, 2]);
  });

  it.each([
    ['nothing', ''],
    ['a tag alone', '30'],
    ['content that is cut off', '30 03 02 01'],
    ['a byte after the end', '30 00 00'],
    ['an indefinite length', '30 80 00 00'],
    ['a long form for a short length', '30 81 01 00'],
    ['a length with a leading zero', `30 82 00 80 ${'00'.repeat(128)}`],
    ['a length of four bytes', '30 84 00 00 00 00'],
    ['a length whose bytes are missing', '30 82 01'],
    ['a tag number of several bytes', 'bf 1f 00'],
    ['end-of-contents', '00 00'],
    ['the reserved length', '30 ff'],
  ])('refuses %s', (_, text) => {
    expect(() => parseDer(hex(text))).toThrow(malformed);
  });

  it('refuses more than 64 KiB', () => {
    expect(() => parseDer(Buffer.concat([hex('04 83 01 00 00'), Buffer.alloc(65_536)]))).toThrow(malformed);
  });

  it('refuses children that end beyond their parent, that are too many, or that are in a primitive element', () => {
    expect(() => derChildren(element('30 02 02 01'))).toThrow(malformed);
    expect(() => derChildren(element('04 02 05 00'))).toThrow(malformed);
    expect(() => derChildren(parseDer(Buffer.concat([hex('30 82 08 02'), Buffer.from('0500'.repeat(1025), 'hex')])))).toThrow(
      malformed,
    );
  });

  it('stops at 16 levels', () => {
    let nested = Buffer.alloc(0);
    for (let level = 0; level < 20; level++) nested = Buffer.concat([Buffer.of(0x30, nested.length), nested]);
    let inner: DerElement = parseDer(nested);
    const descend = () => {
      for (let level = 0; level < 20; level++) inner = derChildren(inner)[0] ?? inner;
    };
    expect(descend).toThrow(malformed);
    expect(inner.depth).toBe(16);
  });
});

describe('DER values', () => {
  it.each([
    ['02 01 00', '00'],
    ['02 01 7f', '7f'],
    ['02 02 00 80', '80'],
    ['02 03 01 00 00', '010000'],
  ])('reads the INTEGER %s as %s', (text, value) => {
    expect(readIntegerHex(element(text), 21)).toBe(value);
  });

  it.each(['02 00', '02 01 80', '02 02 00 7f', `02 16 01 ${'00'.repeat(21)}`, '03 01 00'])('refuses the INTEGER %s', (text) => {
    expect(() => readIntegerHex(element(text), 21)).toThrow(malformed);
  });

  it.each([
    ['06 03 55 1d 11', '2.5.29.17'],
    ['06 08 2a 86 48 ce 3d 04 03 02', '1.2.840.10045.4.3.2'],
    ['06 03 2b 65 70', '1.3.101.112'],
    ['06 03 88 37 03', '2.999.3'],
    ['06 0a 09 92 26 89 93 f2 2c 64 01 19', '0.9.2342.19200300.100.1.25'],
    ['06 0a 2a 81 ff ff ff ff ff ff ff 7f', '1.2.144115188075855871'],
  ])('reads the OID %s as %s', (text, value) => {
    expect(readOid(element(text))).toBe(value);
  });

  it.each(['06 00', '06 02 55 9d', '06 03 55 80 01', '05 00'])('refuses the OID %s', (text) => {
    expect(() => readOid(element(text))).toThrow(malformed);
  });

  it.each([
    ['03 02 07 80', [0]],
    ['03 02 01 06', [5, 6]],
    ['03 03 07 00 80', [8]],
    ['03 01 00', []],
  ])('reads the bits %s', (text, bits) => {
    expect(readNamedBits(element(text))).toEqual(bits);
  });

  it.each(['03 00', '03 01 01', '03 02 08 80', '03 02 00 80', '03 02 07 81', '03 02 07 00', '03 04 07 00 00 80'])(
    'refuses the bits %s',
    (text) => {
      expect(() => readNamedBits(element(text))).toThrow(malformed);
    },
  );

  it('reads booleans in DER only', () => {
    expect([readBoolean(element('01 01 ff')), readBoolean(element('01 01 00'))]).toEqual([true, false]);
    expect(() => readBoolean(element('01 01 01'))).toThrow(malformed);
    expect(() => readBoolean(element('01 02 00 00'))).toThrow(malformed);
  });

  const time = (tag: number, text: string) => readTime(parseDer(Buffer.concat([Buffer.of(tag, text.length), Buffer.from(text)])));

  it('reads both times, with the century of RFC 5280', () => {
    expect(time(0x17, '491231235959Z')).toBe(Date.UTC(2049, 11, 31, 23, 59, 59));
    expect(time(0x17, '500101000000Z')).toBe(Date.UTC(1950, 0, 1));
    expect(time(0x18, '20510228120000Z')).toBe(Date.UTC(2051, 1, 28, 12));
  });

  it.each([
    [0x17, '4912312359Z'],
    [0x17, '491231235959+0100'],
    [0x17, '490231000000Z'],
    [0x17, '491301000000Z'],
    [0x17, '491231240000Z'],
    [0x17, '491231235960Z'],
    [0x18, '20510228120000.5Z'],
    [0x18, '510228120000Z'],
    [0x16, '491231235959Z'],
  ])('refuses time %i %s', (tag, text) => {
    expect(() => time(tag, text)).toThrow(malformed);
  });
});
