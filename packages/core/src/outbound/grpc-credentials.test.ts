import { describe, expect, it } from 'vitest';
import { grpcTargetOf } from './grpc-credentials.js';

const secure = (): never => {
  throw new Error('not used');
};

describe('the target of a route', () => {
  it.each([
    [[['10.0.0.1', 1]], 'ipv4:10.0.0.1:1'],
    [
      [
        ['10.0.0.1', 1],
        ['10.0.0.2', 2],
        ['::1', 3],
      ],
      'ipv4:10.0.0.1:1,10.0.0.2:2',
    ],
    [
      [
        ['::1', 1],
        ['[fe80::1]', 2],
      ],
      'ipv6:[::1]:1,[fe80::1]:2',
    ],
    [[['authz.example', 9000]], 'dns:///authz.example:9000'],
  ] as [[string, number][], string][])('%j is %s', (targets, expected) => {
    expect(grpcTargetOf({ targets: targets.map(([address, port]) => ({ address, port })), secure })).toBe(expected);
  });

  it('cannot be without endpoints', () => {
    expect(() => grpcTargetOf({ targets: [], secure })).toThrow('no endpoint');
  });
});
