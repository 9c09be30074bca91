import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/**
 * `unit` reads the sources beside the tests; everything in test/ imports the built packages, as a user would. The times are bounds for what hangs, far
 * above what a test takes on a machine that has a tenth of a core for it; what does not come is named before, by test/support/waiting.ts.
 */
const project = (name: string, include: string[], testTimeout = 240_000) => ({
  test: {
    name,
    include,
    testTimeout,
    hookTimeout: testTimeout,
    environment: 'node' as const,
    expect: { poll: { timeout: 40_000 } },
  },
});

// One after the other, after everything else: they measure, and bring load of their own.
const faults = project('faults', ['test/faults/**/*.test.ts'], 300_000);
Object.assign(faults.test, { maxWorkers: 1, sequence: { groupOrder: 1 } });

// What takes a quarter of a minute and more, the longest first: none of these is left to the end, when the other workers have nothing more to do.
const longest = [
  'test/long/fidelity',
  'test/long/',
  'interop/istiod',
  'policy/index.property',
  'interop/step-ca',
  'flow/ca-mesh',
  'config/reload',
  'conformance/door-oracle',
  'flow/bad-input',
  'flow/key-sets',
  'flow/federation',
];

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification): number => {
      const found = longest.findIndex((part) => moduleId.includes(part));
      return found < 0 ? longest.length : found;
    };
    return (await super.sort(files)).toSorted((a, b) => place(a) - place(b));
  }
}

export default defineConfig({
  test: {
    sequence: { sequencer: LongestFirst },
    // Many suites wait more than they compute: on a machine of two cores two of them run at once, where vitest would run one.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    projects: [
      project('unit', ['packages/*/src/**/*.test.ts', 'scripts/**/*.test.ts']),
      project('flow', ['test/flow/**/*.test.ts']),
      project('adapters', ['test/adapters/**/*.test.ts']),
      project('conformance', ['test/conformance/**/*.test.ts']),
      project('cli', ['test/cli/**/*.test.ts']),
      project('examples', ['test/examples/**/*.test.ts']),
      // Minutes, not seconds: skipped unless ENMESH_LONG is 1, as `npm run test:all` sets it.
      project('long', ['test/long/**/*.test.ts'], 900_000),
      // Seconds in the short forms; minutes to hours with ENMESH_FAULTS=long, as `npm run test:faults` sets it.
      faults,
      project('interop', ['test/interop/**/*.test.ts'], 300_000),
      project('packaging', ['test/packaging/**/*.test.ts'], 480_000),
    ],
  },
});
