import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compileStrip } from '../propagation/strip.js';
import { compileHeaderScan } from './header-scan.js';

const scan = compileHeaderScan(compileStrip(['X-Jwt-Payload', 'x-user-groups']));
const raw = (...lines: [string, string][]): string[] => lines.flat();
const removedOf = (lines: string[], connection?: string): string[] => [...(scan(lines, connection).removed ?? [])].sort();

describe('the pass over the header list', () => {
  it('finds nothing to do in an ordinary request', () => {
    const lines = raw(
      ['Host', 'a'],
      ['User-Agent', 'curl'],
      ['Accept', '*/*'],
      ['Authorization', 'Bearer t'],
      ['Connection', 'keep-alive'],
    );
    expect(scan(lines, 'keep-alive')).toEqual({ problem: undefined, removed: undefined, joined: undefined });
  });

  it.each([
    'x-jwt-payload',
    'X-JWT-PAYLOAD',
    'X_Jwt_Payload',
    'x_jwt-payload',
    'x-user-groups',
    'Sec-Istio-Auth-UserInfo',
    'sec_istio_auth_userinfo',
  ])('removes the forged identity header spelt %s', (name) =>
    expect(removedOf(raw(['Host', 'a'], [name, 'forged']))).toEqual([name.toLowerCase()]),
  );

  it.each([
    'x-enmesh-decision',
    'X_Enmesh_Anything',
    'X-ENMESH-peer',
    'enmesh-hop-token',
    'x-forwarded-client-cert',
    'X_Forwarded_Client_Cert',
  ])('removes %s, which only this hop may write', (name) =>
    expect(removedOf(raw([name, 'forged'], ['Host', 'a']))).toEqual([name.toLowerCase()]),
  );

  it.each(['_odd-name_', '-ODD_NAME-', '_odd_name-'])(
    'finds %s where the ends of a protected name may be spelt either way',
    (name) => {
      const odd = compileHeaderScan(compileStrip(['-odd-name-']));
      expect([...(odd([name, 'forged'], undefined).removed ?? [])]).toEqual([name.toLowerCase()]);
    },
  );

  it('removes every line of a forged header, not only the first', () => {
    expect(removedOf(raw(['x-jwt-payload', '1'], ['X_JWT_PAYLOAD', '2'], ['x-jwt-payload', '3']))).toEqual([
      'x-jwt-payload',
      'x_jwt_payload',
    ]);
  });

  it.each(['Host', 'Authorization'])('refuses a second %s line, in any case', (name) => {
    expect(scan(raw([name, 'a'], [name.toUpperCase(), 'b']), undefined).problem).toContain('twice');
  });

  it('removes headers that Connection names, and refuses when it names a protected one', () => {
    const lines = raw(['Connection', 'x-role, close'], ['X-Role', 'admin']);
    expect(removedOf(lines, 'x-role, close')).toEqual(['x-role']);
    for (const name of ['x-jwt-payload', 'X_Jwt_Payload', 'authorization', 'host', 'x-forwarded-client-cert']) {
      expect(scan(raw(['Connection', name]), name).problem).toContain('protected');
    }
  });

  it('keeps connection and upgrade of an upgrade', () => {
    expect(removedOf(raw(['Connection', 'Upgrade'], ['Upgrade', 'websocket']), 'Upgrade')).toEqual([]);
  });

  it.each([
    [['trailers'], undefined, undefined],
    [['gzip'], ['te'], undefined],
    [['one', 'two'], ['te'], undefined],
    [[''], ['te'], undefined],
    [['gzip, trailers ;q=1'], ['te'], undefined],
    [['gzip;q=0.5,\ttrailers'], undefined, 'trailers'],
    [['gzip', 'trailers'], undefined, 'trailers'],
    [['trailers', 'trailers'], undefined, 'trailers'],
  ])('leaves of TE %j nothing but trailers', (values, removed, joined) => {
    const seen = scan(
      values.flatMap((value, at) => [at === 0 ? 'TE' : 'te', value]),
      undefined,
    );
    expect(seen.removed && [...seen.removed]).toEqual(removed);
    expect(seen.joined?.get('te')).toBe(joined);
  });

  it('joins the lines of the headers that Istio joins, without a blank, and leaves others apart', () => {
    const lines = raw(
      ['X-Forwarded-For', '1.1.1.1'],
      ['x-forwarded-for', '2.2.2.2'],
      ['X-Custom', 'a'],
      ['x-custom', 'b'],
      ['Referer', ''],
      ['Referer', 'http://r'],
    );
    expect([...(scan(lines, undefined).joined ?? [])]).toEqual([
      ['x-forwarded-for', '1.1.1.1,2.2.2.2'],
      ['referer', 'http://r'],
    ]);
  });

  it('never overlooks a protected name, whatever stands around it', () => {
    const name = fc.stringMatching(/^[a-zA-Z][a-zA-Z0-9-]{0,20}$/);
    const forged = fc.constantFrom(
      'x-jwt-payload',
      'X_JWT_Payload',
      'x-enmesh-a',
      'x_enmesh_b',
      'X-Forwarded-Client-Cert',
      'SEC_ISTIO_AUTH_USERINFO',
    );
    fc.assert(
      fc.property(fc.array(name, { maxLength: 12 }), forged, fc.nat(12), (names, bad, at) => {
        const all = [...names.filter((one) => !/^(host|authorization|connection)$/i.test(one))];
        all.splice(Math.min(at, all.length), 0, bad);
        expect(removedOf(all.flatMap((one) => [one, 'v']))).toContain(bad.toLowerCase());
      }),
      { numRuns: 2000 },
    );
  });
});
