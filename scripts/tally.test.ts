import { describe, expect, it } from 'vitest';
import { isSkipped, suitesOf, unmetRequirements } from './optional-suites.mjs';
import { run } from './run.mjs';
import { formatTally, sumTallies, tallyOf } from './tally.mjs';

describe('the tally of a run', () => {
  it.each([
    ['its last line', 0, 'x\n3 passed, 0 failed\nmore\n40 passed, 2 failed\n', { passed: 40, failed: 2 }],
    ["vitest's summary", 1, '      Tests  1 failed | 20 passed | 3 skipped (24)\n', { passed: 20, failed: 1 }],
    [
      "vitest's summary in colour",
      0,
      ' \x1b[2m      Tests \x1b[22m \x1b[32m7 passed\x1b[39m\x1b[90m (7)\x1b[39m\n',
      { passed: 7, failed: 0 },
    ],
    ['several summaries', 0, '   Tests  2 passed (2)\n   Tests  3 passed (3)\n', { passed: 5, failed: 0 }],
    ['a failure outside the tests', 1, '   Tests  2 passed (2)\nUnhandled error\n', { passed: 2, failed: 1 }],
    ['a check without a count that passed', 0, 'all good\n', { passed: 1, failed: 0 }],
    ['a check without a count that failed', 2, 'bad\n', { passed: 0, failed: 1 }],
  ])('is read from %s', (_from, code, output, tally) => {
    expect(tallyOf({ code, output })).toEqual(tally);
  });

  it('is summed and printed in one line', () => {
    const sum = sumTallies([
      { passed: 2, failed: 1 },
      { passed: 5, failed: 0 },
    ]);
    expect(formatTally(sum)).toBe('7 passed, 1 failed');
  });
});

describe('running a program', () => {
  it('keeps output and exit code, and gives it no standard input', async () => {
    const script = `process.stdin.on('end', () => { console.log('no input'); process.exitCode = 3; }).resume()`;
    expect(await run(process.execPath, ['-e', script], { quiet: true })).toMatchObject({ code: 3, output: 'no input\n' });
  });

  it('ends a program that outlives its time, and what it started', async () => {
    const script = `require('child_process').spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'inherit' }); setInterval(() => {}, 1000)`;
    const result = await run(process.execPath, ['-e', script], { quiet: true, timeoutMs: 500 });
    expect(result.code).not.toBe(0);
    expect(result.output).toContain('was ended after 0.5 s');
  });

  it('counts a program that does not exist as failed', async () => {
    expect((await run('enmesh-no-such-program', [], { quiet: true })).code).toBe(127);
  });
});

const suite = (file: string, counts: { passed?: number; failed?: number; skipped?: number }, node = '20.20.2') => ({
  file,
  node,
  passed: 0,
  failed: 0,
  skipped: 0,
  ...counts,
});

describe('optional suites', () => {
  it('are read from the report, a file that could not be loaded as one failure', () => {
    const report = {
      testResults: [
        { name: '/repo/test/flow/a.test.ts', status: 'passed', assertionResults: [{ status: 'passed' }, { status: 'pending' }] },
        { name: '/repo/test/flow/b.test.ts', status: 'failed', assertionResults: [] },
      ],
    };
    expect(suitesOf(report, { root: '/repo', node: '20.20.2' })).toEqual([
      suite('test/flow/a.test.ts', { passed: 1, skipped: 1 }),
      suite('test/flow/b.test.ts', { failed: 1 }),
    ]);
  });

  it('are skipped when nothing of them ran', () => {
    expect(isSkipped(suite('a', { skipped: 4 }))).toBe(true);
    expect(isSkipped(suite('a', { skipped: 4, passed: 1 }))).toBe(false);
  });

  const suites = [
    suite('test/flow/door.test.ts', { passed: 3 }, '22.23.3'),
    suite('test/conformance/path.test.ts', { passed: 9 }),
    suite('test/conformance/jwt.test.ts', { skipped: 2 }),
    suite('test/interop/envoy-permissive.test.ts', { passed: 2 }),
    suite('test/interop/keycloak.test.ts', { passed: 1, skipped: 1 }),
    suite('test/interop/kube-apiserver.test.ts', { passed: 1 }),
  ];

  it.each([
    [undefined, []],
    ['node22', []],
    ['node22,node24', ['node24']],
    ['envoy', []],
    ['kube-apiserver', []],
    ['kube-api', ['kube-api']],
    [' Envoy , ', []],
    ['keycloak', ['keycloak']],
    ['corpora', ['corpora']],
    ['spire,istiod', ['spire', 'istiod']],
  ])('that ENMESH_REQUIRE=%s asks for and that did not run whole are %j', (required, unmet) => {
    expect(unmetRequirements(required, suites)).toEqual(unmet);
  });
});
