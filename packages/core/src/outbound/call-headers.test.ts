import { describe, expect, it } from 'vitest';
import { withHeaderLines, withoutIdentityHeaders } from './call-headers.js';

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

describe('header lines that a call is given', () => {
  const lines = [['authorization', 'Bearer t']] as const;

  it('stand in the place of what the application set by that name, in whatever form its headers came', () => {
    expect(withHeaderLines({ Authorization: 'mine', a: ['1', '2'], Enmesh_Hop_Token: 'x' }, lines)).toEqual({
      a: ['1', '2'],
      authorization: 'Bearer t',
    });
    expect(withHeaderLines(['AUTHORIZATION', 'mine', 'a', '1'], lines)).toEqual(['a', '1', 'authorization', 'Bearer t']);
    expect(
      withHeaderLines(
        new Map([
          ['authorization', 'mine'],
          ['a', '1'],
        ]),
        lines,
      ),
    ).toEqual(['a', '1', 'authorization', 'Bearer t']);
    for (const none of [null, undefined]) expect(withHeaderLines(none, lines)).toEqual(['authorization', 'Bearer t']);
  });

  it('leave the headers of the application as they are', () => {
    const headers = { authorization: 'mine' };
    withHeaderLines(headers, lines);
    expect(headers).toEqual({ authorization: 'mine' });
  });
});
