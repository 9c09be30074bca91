import { defineConfig } from 'vitest/config';

// `unit` reads the sources beside the tests; everything in test/ imports the built packages, as a user would.
const project = (name: string, include: string[], testTimeout = 20_000) => ({
  test: { name, include, testTimeout, hookTimeout: testTimeout, environment: 'node' as const },
});

// One after the other, after everything else: they measure, and bring load of their own.
const faults = project('faults', ['test/faults/**/*.test.ts'], 120_000);
Object.assign(faults.test, { maxWorkers: 1, sequence: { groupOrder: 1 } });

export default defineConfig({
  test: {
    projects: [
      project('unit', ['packages/*/src/**/*.test.ts', 'scripts/**/*.test.ts']),
      project('flow', ['test/flow/**/*.test.ts'], 30_000),
      project('adapters', ['test/adapters/**/*.test.ts'], 30_000),
      project('conformance', ['test/conformance/**/*.test.ts'], 60_000),
      project('cli', ['test/cli/**/*.test.ts'], 60_000),
      project('examples', ['test/examples/**/*.test.ts'], 120_000),
      // Minutes, not seconds: skipped unless ENMESH_LONG is 1, as `npm run test:all` sets it.
      project('long', ['test/long/**/*.test.ts'], 480_000),
      // Seconds in the short forms; minutes to hours with ENMESH_FAULTS=long, as `npm run test:faults` sets it.
      faults,
      project('interop', ['test/interop/**/*.test.ts'], 120_000),
      project('packaging', ['test/packaging/**/*.test.ts'], 240_000),
    ],
  },
});
