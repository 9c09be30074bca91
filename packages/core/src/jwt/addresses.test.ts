import { describe, expect, it } from 'vitest';
import { guardedLookup, isForbiddenAddress } from './addresses.js';

describe('addresses that keys are never fetched from', () => {
  it.each([
    '169.254.169.254',
    '169.254.0.1',
    '169.254.255.255',
    '::ffff:169.254.169.254',
    '::ffff:a9fe:a9fe',
    '[::ffff:a9fe:a9fe]',
    '64:ff9b::a9fe:a9fe',
    '64:ff9b:1::a9fe:a9fe',
    '64:ff9b::6464:64c8',
    '::a9fe:a9fe',
    '::ffff:0:a9fe:a9fe',
    '2002:a9fe:a9fe::1',
    '2002:a83f:8110::1',
    '168.63.129.16',
    '::ffff:168.63.129.16',
    'fe80::1',
    'fe80::1%eth0',
    'febf:ffff::1',
    'fd00:ec2::254',
    '[fd00:ec2::254]',
    'fd00:ec2::23',
    'fd20:ce::254',
    '100.100.100.200',
    '192.0.0.192',
  ])('%s', (address) => {
    expect(isForbiddenAddress(address)).toBe(true);
  });

  it.each([
    '127.0.0.1',
    '10.0.0.1',
    '169.253.255.255',
    '169.255.0.0',
    '::1',
    'fec0::1',
    'fd00:ec2::253',
    '64:ff9b::a9ff:1',
    '2002:a9ff::1',
    '::7f00:1',
    '168.63.129.17',
    'idp.test',
    '',
  ])('not %s', (address) => {
    expect(isForbiddenAddress(address)).toBe(false);
  });

  it('are seen through every spelling that a URL allows', () => {
    const hosts = ['2852039166', '0xa9fea9fe', '0251.0376.0251.0376', '169.254.43518', '[::ffff:169.254.169.254]'];
    for (const host of hosts) expect(isForbiddenAddress(new URL(`http://${host}/`).hostname)).toBe(true);
  });
});

describe('the guarded lookup', () => {
  const look = (hostname: string, all: boolean): Promise<unknown> =>
    new Promise((resolve) => guardedLookup(hostname, { all }, (error, address) => resolve(error ?? address)));

  it('gives the addresses of a name, one or all', async () => {
    expect(await look('127.0.0.1', false)).toBe('127.0.0.1');
    expect(await look('127.0.0.1', true)).toEqual([{ address: '127.0.0.1', family: 4 }]);
  });

  it('refuses a name that leads to a forbidden address', async () => {
    for (const all of [true, false])
      expect(await look('169.254.169.254', all)).toMatchObject({ code: 'ENMESH_JWT_FETCH_REFUSED' });
  });

  it('passes on that a name is unknown', async () => {
    expect(await look('no.such.name.invalid', true)).toBeInstanceOf(Error);
  });
});
