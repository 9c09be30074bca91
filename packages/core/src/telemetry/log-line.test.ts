import { describe, expect, test } from 'vitest';
import type { DeniedEvent, NoticeEvent } from './events.js';
import { formatDenied, formatNotice } from './log-line.js';

const now = Date.parse('2026-11-22T10:00:00.000Z');
const denied: DeniedEvent = {
  id: 'd-1',
  step: 'authorize',
  code: 'ENMESH_POLICY_DENIED',
  status: 403,
  method: 'GET',
  path: '/products/1',
  policy: 'shop/product',
  rule: 2,
  peer: 'cluster.local/ns/shop/sa/gateway',
  reason: 'a DENY rule matched',
  remedy: 'change the policy',
};
const line = (o: Partial<DeniedEvent>): string => formatDenied({ ...denied, ...o }, now);

describe('a denial is one line', () => {
  test('with time, decision id, code, status, request, policy, peer, reason and remedy', () => {
    expect(formatDenied(denied, now)).toBe(
      '2026-11-22T10:00:00.000Z enmesh denied d-1 ENMESH_POLICY_DENIED 403 GET /products/1 policy=shop/product rule=2 ' +
        'peer=cluster.local/ns/shop/sa/gateway reason="a DENY rule matched" remedy="change the policy"',
    );
  });

  test('with the rule that came closest behind the reason, if there is one', () => {
    const near = ['shop/p rule 0: source.principals is absent, wants a', 'shop/q rule 1: further'];
    expect(line({ near })).toContain(
      'reason="a DENY rule matched" near="shop/p rule 0: source.principals is absent, wants a" remedy="change the policy"',
    );
    expect(line({ near: [] })).not.toContain('near=');
  });

  test('without what is not known', () => {
    const { method: _method, path: _path, policy: _policy, rule: _rule, peer: _peer, ...rest } = denied;
    expect(formatDenied(rest, now)).toBe(
      '2026-11-22T10:00:00.000Z enmesh denied d-1 ENMESH_POLICY_DENIED 403 reason="a DENY rule matched" remedy="change the policy"',
    );
  });

  test.each([
    ['a line break', '/a\r\n2026 enmesh denied forged', '"/a\\u000d\\u000a2026 enmesh denied forged"'],
    ['a terminal sequence', '/a\u001b[2J', '"/a\\u001b[2J"'],
    ['a bidirectional mark', '/a\u202egnp', '"/a\\u202egnp"'],
    ['a line separator', '/a\u2028b', '"/a\\u2028b"'],
    ['a blank that begins another field', '/a policy=shop/forged', '"/a policy=shop/forged"'],
    ['a quote', '/a"b', '"/a\\"b"'],
    ['a backslash', '/a\\u000a', '"/a\\\\u000a"'],
    ['an equals sign', 'peer=forged', '"peer=forged"'],
  ])('in which %s of the path does no harm', (_, path, shown) => {
    expect(line({ path })).toContain(` GET ${shown} policy=`);
  });

  test('in which the query, where tokens travel, does not appear', () => {
    expect(line({ path: '/a?access_token=eyJhbGciOi' })).toContain(' GET /a policy=');
    expect(line({ path: '/a#eyJhbGciOi' })).not.toContain('eyJ');
  });

  test('that is bounded whatever the texts are', () => {
    const long = '\u0000'.repeat(100_000);
    expect(
      line({ id: long, method: long, path: long, policy: long, peer: long, reason: long, near: [long], remedy: long }).length,
    ).toBeLessThan(12_000);
  });
});

describe('a notice', () => {
  const notice: NoticeEvent = {
    kind: 'config-rejected',
    level: 'error',
    code: 'ENMESH_CONFIG_INVALID',
    message: 'mesh has 1 error:\n  a.yaml:1:2 spec: x\u001b',
  };

  test('names its level, kind and code, and keeps its lines, free of control characters', () => {
    expect(formatNotice(notice, now)).toBe(
      '2026-11-22T10:00:00.000Z enmesh error config-rejected ENMESH_CONFIG_INVALID: mesh has 1 error:\n  a.yaml:1:2 spec: x\\u001b',
    );
  });

  test('of something ordinary is one short line', () => {
    expect(formatNotice({ kind: 'config-loaded', level: 'info', message: 'configuration 1 is in force' }, now)).toBe(
      '2026-11-22T10:00:00.000Z enmesh config-loaded: configuration 1 is in force',
    );
  });
});
