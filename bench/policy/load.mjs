// How long a set takes from validated documents to the swapped index, and how long the thread was not free meanwhile, in CPU time.
import { validateDocuments } from '../../packages/core/dist/config/validate.js';
import { compileSnapshotInSlices } from '../../packages/core/dist/config/snapshot.js';
import { median } from '../statistics.mjs';
import { cpu } from './measure.mjs';
import { policyOf } from './shapes.mjs';

const workload = { namespace: 'shop', serviceAccount: 'product', labels: {} };

function documentsOf(shape, size) {
  // Several files of 500 rules, as many as one policy may have; JSON is YAML.
  const files = [];
  for (let first = 0; first < size; first += 500) {
    const slice = { ...shape, rule: (i) => shape.rule(first + i) };
    const policy = policyOf(slice, Math.min(500, size - first), 'ALLOW');
    files.push({
      name: `${first}.yaml`,
      text: JSON.stringify({ ...policy, metadata: { ...policy.metadata, name: `rules-${first}` } }),
    });
  }
  return files;
}

/** Longest time without a turn of the event loop while `work` is under way, in milliseconds. Other processes can only make it longer. */
async function longestStall(work) {
  let last = performance.now();
  let longest = 0;
  let isDone = false;
  const tick = () => {
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
    if (!isDone) setImmediate(tick);
  };
  setImmediate(tick);
  await new Promise((done) => setImmediate(done));
  const result = await work();
  isDone = true;
  tick();
  return { result, longest };
}

/** Slices of 2 ms without work: what the same measurement shows on a machine that is busy with something else. */
async function idle(ms) {
  const until = performance.now() + ms;
  while (performance.now() < until) {
    const end = performance.now() + 2;
    while (performance.now() < end);
    await new Promise((done) => setImmediate(done));
  }
}

/** Milliseconds: `validate`, `compile` for the first load in this process and for a later one, and of five loads the median and the least longest `stall`, with that of slices without work as `control`. */
export async function measureLoad(shape, size) {
  const files = documentsOf(shape, size);
  const start = cpu();
  const { resources, problems } = validateDocuments(files);
  const validate = cpu() - start;
  if (resources === undefined) throw new Error(`the benchmark's own policies do not validate: ${problems[0]?.message}`);
  const times = [];
  const controls = [];
  for (let round = 0; round < 5; round++) {
    const from = cpu();
    const { longest } = await longestStall(() => compileSnapshotInSlices(resources, workload, 1));
    times.push({ compile: cpu() - from, stall: longest });
    controls.push((await longestStall(() => idle(50))).longest);
  }
  const stalls = times.map(({ stall }) => stall);
  return {
    validate,
    first: times[0].compile,
    later: times[4].compile,
    stall: median(stalls),
    least: Math.min(...stalls),
    control: median(controls),
  };
}
