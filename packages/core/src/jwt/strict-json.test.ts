import { describe, expect, it } from 'vitest';
import { isJsonObject, maxJsonDepth, parseStrictJson } from './strict-json.js';

const octets = (...values: number[]): Uint8Array => Uint8Array.from(values);
const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);

describe('strict JSON', () => {
  it.each([
    [' {"a" : [1, -2.5e3, true, null, "x,y]"]} ', { a: [1, -2500, true, null, 'x,y]'] }],
    ['{"a":{"a":1},"b":[{"a":2},{"a":3}]}', { a: { a: 1 }, b: [{ a: 2 }, { a: 3 }] }],
    ['{"a":"\\"","b":"{\\"a\\":1}"}', { a: '"', b: '{"a":1}' }],
    ['"\\ud83d\\ude00"', '😀'],
    ['{}', {}],
    ['0', 0],
    [nested(maxJsonDepth), JSON.parse(nested(maxJsonDepth))],
  ])('reads %j', (text, value) => {
    expect(parseStrictJson(text)).toEqual(value);
    expect(parseStrictJson(Buffer.from(text))).toEqual(value);
  });

  it.each([
    ['a repeated name', '{"a":1,"a":2}'],
    ['a repeated name with another between', '{"a":1,"b":[],"a":2}'],
    ['a repeated name in disguise', '{"sub":1,"\\u0073ub":2}'],
    ['a repeated __proto__', '{"__proto__":1,"__proto__":2}'],
    ['a repeated name deep inside', '[{"x":{"a":1,"b":{},"a":2}}]'],
    ['a number beyond a double', '{"a":1e400}'],
    ['a negative one in a list', '[-1e999]'],
    ['a lone surrogate', '{"a":"\\ud800"}'],
    ['a lone surrogate as a name', '{"\\udc00":1}'],
    ['too many levels', nested(maxJsonDepth + 1)],
    ['single quotes', "{'a':1}"],
    ['a trailing comma', '{"a":1,}'],
    ['a comment', '{}/**/'],
    ['text after the end', '{}x'],
    ['NaN', '{"a":NaN}'],
    ['nothing', ''],
  ])('refuses %s', (_, text) => {
    expect(() => parseStrictJson(text)).toThrow(SyntaxError);
  });

  it.each([
    ['a byte order mark', octets(0xef, 0xbb, 0xbf, 0x7b, 0x7d)],
    ['broken UTF-8', octets(0x22, 0xff, 0x22)],
    ['a surrogate in UTF-8', octets(0x22, 0xed, 0xa0, 0x80, 0x22)],
    ['an overlong form', octets(0x22, 0xc0, 0x80, 0x22)],
  ])('refuses %s', (_, bytes) => {
    expect(() => parseStrictJson(bytes)).toThrow(SyntaxError);
  });

  it('counts names where they stand, not where strings look like them', () => {
    const text = '{"a:b":"c\\":\\"d","e\\\\":[":",{"f":"\\\\\\""}]}';
    expect(parseStrictJson(Buffer.from(text))).toEqual(JSON.parse(text));
    expect(() => parseStrictJson(Buffer.from('{"é:":1,"é:":2}'))).toThrow(SyntaxError);
  });

  it.each(['{"a" :1,"a":2,"b":":"}', '{"a"\t:1,"a"\n:2}', '{"a":1,"a"\r\n:2,"b":" : "}', '{"a" : 1 , "b":":" , "a" :2}'])(
    'finds a repeated name whatever stands between it and its colon, and whatever strings hold: %j',
    (text) => {
      expect(() => parseStrictJson(text)).toThrow(SyntaxError);
      expect(() => parseStrictJson(Buffer.from(text))).toThrow(SyntaxError);
      const once = text.replace('"a"', '"c"');
      expect(parseStrictJson(Buffer.from(once))).toEqual(JSON.parse(once));
    },
  );

  it('reads the same whatever stands in the prototype of all objects', () => {
    const prototype = Object.prototype as Record<string, unknown>;
    prototype['polluted'] = 1;
    try {
      expect(parseStrictJson('{"a":{"b":1}}')).toEqual({ a: { b: 1 } });
      expect(() => parseStrictJson('{"a":1,"a":1}')).toThrow(SyntaxError);
    } finally {
      delete prototype['polluted'];
    }
  });

  it('freezes what is in a value for whoever asks, and leaves the value to them', () => {
    const value = parseStrictJson('{"a":[{"b":[]}],"c":{}}', { frozen: true }) as { a: [{ b: [] }]; c: object };
    expect([value.a, value.a[0], value.a[0].b, value.c].every(Object.isFrozen)).toBe(true);
    expect(Object.isFrozen(value)).toBe(false);
    expect(Object.isFrozen((parseStrictJson('{"a":[]}') as { a: [] }).a)).toBe(false);
  });

  it('never quotes what it refuses', () => {
    for (const text of ['{"secret-name":1,"secret-name":1}', '"secret', '{"a":secret}'])
      expect(() => parseStrictJson(text)).toThrow(
        expect.objectContaining({ message: expect.not.stringContaining('secret') as string }),
      );
  });

  it('refuses a million open brackets without running out of stack', () => {
    expect(() => parseStrictJson('['.repeat(1_000_000))).toThrow(SyntaxError);
    expect(() => parseStrictJson(nested(100_000))).toThrow(SyntaxError);
  });

  it('tells objects from lists and null', () => {
    expect([{}, [], null, 'x', 1].map(isJsonObject)).toEqual([true, false, false, false, false]);
  });
});
