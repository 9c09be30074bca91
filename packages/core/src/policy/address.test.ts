import fc from 'fast-check';
import { BlockList, isIP } from 'node:net';
import { describe, expect, it } from 'vitest';
import { compileBlocks, readAddress } from './address.js';

describe('address blocks', () => {
  it.each<readonly [string, readonly string[], readonly string[]]>([
    ['10.0.0.1', ['10.0.0.1'], ['10.0.0.2', '::ffff:10.0.0.1', '', 'x']],
    ['10.1.2.3/8', ['10.0.0.0', '10.255.255.255'], ['11.0.0.0', '9.255.255.255']],
    ['203.0.113.128/25', ['203.0.113.128', '203.0.113.255'], ['203.0.113.127']],
    ['0.0.0.0/0', ['1.2.3.4', '255.255.255.255'], ['::1']],
    ['255.255.255.255/1', ['128.0.0.0'], ['127.255.255.255']],
    ['2001:db8::/32', ['2001:DB8::1', '2001:db8:ffff::'], ['2001:db9::', '32.1.13.184']],
    ['::/0', ['::', 'fe80::1%eth0'], ['1.2.3.4']],
    ['fe80::1', ['fe80::1%eth0', 'FE80:0:0:0:0:0:0:1'], ['fe80::2']],
    ['::ffff:203.0.113.0/120', ['::ffff:203.0.113.7', '::ffff:cb00:7107'], ['203.0.113.7', '::ffff:203.0.114.7']],
    ['2001:db8::8000:0:0:0/65', ['2001:db8:0:0:8000::'], ['2001:db8::1']],
  ])('%s hold %j and not %j', (block, inside, outside) => {
    const holds = compileBlocks([block]);
    expect(inside.filter((address) => holds?.(address) !== true)).toEqual([]);
    expect(outside.filter((address) => holds?.(address) !== false)).toEqual([]);
  });

  it.each([
    '10.0.0',
    '10.0.0.256',
    '010.0.0.1',
    '10.0.0.1/33',
    '10.0.0.1/',
    '10.0.0.1/x',
    '10.0.0.1/-1',
    '::1/129',
    'fe80::1%eth0/64',
    '',
    '*',
    '1::2::3',
    '10.0.0.1/1e1',
  ])('that are no address cannot be judged: %j', (value) => {
    expect(compileBlocks(['10.0.0.1', value])).toBeUndefined();
  });

  it('are read as Node reads addresses, whatever the text', () => {
    const words = new Uint32Array(4);
    const texts = fc.oneof(
      fc.ipV4(),
      fc.ipV6(),
      fc.stringMatching(/^[0-9a-f:.]{0,24}$/),
      fc.stringMatching(/^(::|[0-9]{1,3}\.|[0-9a-f]{1,5}:){1,8}[0-9a-f]{0,4}$/),
    );
    fc.assert(
      fc.property(texts, (text) => {
        expect(readAddress(text, words)).toBe(isIP(text));
      }),
      { numRuns: 2000 },
    );
  });

  it("hold the addresses that Node's own BlockList holds", () => {
    const v4 = fc.tuple(fc.ipV4(), fc.ipV4(), fc.integer({ min: 1, max: 32 }), fc.constant('ipv4' as const));
    const v6 = fc.tuple(fc.ipV6(), fc.ipV6(), fc.integer({ min: 1, max: 128 }), fc.constant('ipv6' as const));
    fc.assert(
      fc.property(fc.oneof(v4, v6), ([network, address, bits, family]) => {
        const list = new BlockList();
        list.addSubnet(network, bits, family);
        const holds = compileBlocks([`${network}/${bits}`]);
        expect(holds?.(network)).toBe(true);
        expect(holds?.(address)).toBe(list.check(address, family));
      }),
      { numRuns: 2000 },
    );
  });
});
