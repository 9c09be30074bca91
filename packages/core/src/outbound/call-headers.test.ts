import { describe, expect, it } from 'vitest';
import { withoutIdentityHeaders } from './call-headers.js';

describe('identity headers of a call that leaves the mesh', () => {
  const forged = { 'X-Forwarded-Client-Cert': 'By=a', 'Sec_Istio-Auth_Userinfo': 'e30', 'enmesh-hop-token': 'a.b.c' };

  it('are taken out of an object, a flat list, a Map and an iterator, in every spelling', () => {
    const all = { accept: '*/*', ...forged, cookie: ['a', 'b'] };
    expect(withoutIdentityHeaders(all)).toEqual({ accept: '*/*', cookie: ['a', 'b'] });
    expect(withoutIdentityHeaders(Object.entries(all).flat(1))).toEqual(['accept', '*/*', 'cookie', ['a', 'b']]);
    expect(withoutIdentityHeaders([Buffer.from('enmesh-hop-token'), 'x', Buffer.from('b'), 'y'])).toEqual([
      Buffer.from('b'),
      'y',
    ]);
    expect(withoutIdentityHeaders(new Map(Object.entries(forged)))).toEqual([]);
    const once = (function* (): Generator<[string, string]> {
      yield ['enmesh-hop-token', 'x'];
      yield ['a', 'b'];
    })();
    expect(withoutIdentityHeaders(once)).toEqual(['a', 'b']);
  });

  it('leave everything else as it was given', () => {
    for (const headers of [{ a: '1', b: ['2', '3'] }, ['a', '1'], null, undefined])
      expect(withoutIdentityHeaders(headers)).toBe(headers);
  });
});
