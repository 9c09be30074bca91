import { describe, expect, it } from 'vitest';
import { answerLine } from './stream.js';

const answer = (line: string): ReturnType<typeof answerLine> => answerLine(Buffer.from(line));
const ask = (document: string): ReturnType<typeof answerLine> => answer(JSON.stringify({ document }));

const policy = 'apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a, namespace: b}\n';

describe('answerLine', () => {
  it('has no errors and no warnings for a good document', () => {
    expect(ask(`${policy}spec: {}`)).toEqual({ errors: [], warnings: [] });
  });

  it('tells code, message, line, column, path and the nearest right spelling', () => {
    expect(ask(`${policy}spec: {acton: DENY}`).errors).toMatchObject([
      { code: 'ENMESH_CONFIG_FIELD_UNKNOWN', line: 4, column: 8, path: 'spec.acton', hint: 'did you mean "action"?' },
    ]);
  });

  it('tells doubts apart from errors', () => {
    const result = ask('apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}');
    expect(result.errors).toEqual([]);
    expect(result.warnings).toMatchObject([{ code: 'ENMESH_CONFIG_PASSED_OVER', line: 2 }]);
  });

  it.each([
    '',
    ' ',
    'x',
    '{',
    '[]',
    '1',
    'null',
    '"a"',
    '{}',
    '{"document": 1}',
    '{"document": null}',
    '{"toString": "x"}',
    '{"__proto__": {"document": "x"}}',
  ])('refuses the line %j at line 1', (line) => {
    expect(answer(line).errors).toMatchObject([{ code: 'ENMESH_CONFIG_SYNTAX', line: 1, column: 1, path: '' }]);
  });

  it('refuses bytes that are no UTF-8, and a line that was too long', () => {
    expect(answerLine(Buffer.from([0x7b, 0xff, 0x7d])).errors).toMatchObject([{ code: 'ENMESH_CONFIG_NOT_UTF8', line: 1 }]);
    expect(answerLine(undefined).errors).toMatchObject([{ code: 'ENMESH_CONFIG_LIMIT', line: 1 }]);
  });

  it('takes a carriage return at the end of a line, and a document that is nothing', () => {
    expect(answer('{"document": ""}\r')).toEqual({ errors: [], warnings: [] });
  });

  it.each([
    ['lone surrogates', '\ud800: \udfff'],
    ['control characters', '\u0000\u0001\u001b[2J'],
    ['brackets without end', '['.repeat(100_000)],
    ['a thousand levels', `${'{a: '.repeat(1000)}1${'}'.repeat(1000)}`],
    [
      'aliases of aliases',
      `a: &a [x, x]\n${Array.from({ length: 40 }, (_, at) => `${at}: &b${at} [*${at === 0 ? 'a' : `b${at - 1}`}, *${at === 0 ? 'a' : `b${at - 1}`}]`).join('\n')}`,
    ],
    ['nine million bytes', 'a'.repeat(9_000_000)],
  ])('answers %s with errors whose lines begin at 1', (_, document) => {
    const { errors } = ask(document);
    expect(errors.length).toBeGreaterThan(0);
    for (const { line, column } of errors) expect(Math.min(line, column)).toBeGreaterThanOrEqual(1);
  });
});
