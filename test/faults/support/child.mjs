// What a process of the fault suites and its driver say to each other over IPC: the driver gives commands, the process asks for certificates.
import { readdirSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';

/** What the driver wants of this process: the JSON of its second argument. */
export const wanted = JSON.parse(process.argv[2] ?? '{}');

const waiting = new Map();
let asked = 0;
let offsetMs = 0;

/** The clock of this process, which the driver moves. */
export const clock = () => Date.now() + offsetMs;

/** Asks the driver, and resolves with its answer or rejects with its refusal. */
export function ask(question, about) {
  const id = ++asked;
  process.send({ id, question, about });
  return new Promise((done, fail) => waiting.set(id, { done, fail }));
}

const delays = monitorEventLoopDelay({ resolution: 10 });
delays.enable();

const commands = new Map([
  ['usage', usage],
  ['longestDelay', longestDelay],
  ['clock', ({ offset }) => void (offsetMs = offset)],
]);

/** For how many milliseconds the event loop of this process stood still at most since this was asked last. */
function longestDelay() {
  const ms = delays.max / 1e6;
  delays.reset();
  return ms;
}

/** Answers further commands of the driver, each by a function of its argument. */
export function answer(more) {
  for (const [name, run] of Object.entries(more)) commands.set(name, run);
}

/** What this process holds, after a collection where it may ask for one: bytes, open descriptors, microseconds of CPU time. */
function usage() {
  globalThis.gc?.();
  const { rss, heapUsed, external } = process.memoryUsage();
  const { user, system } = process.cpuUsage();
  return { rss, heapUsed, external, fds: readdirSync('/proc/self/fd').length, cpu: user + system };
}

process.on('message', async ({ id, command, given, answered, refused }) => {
  if (command === undefined) {
    const { done, fail } = waiting.get(id);
    waiting.delete(id);
    return void (refused === undefined ? done(answered) : fail(Object.assign(new Error(refused), { code: refused })));
  }
  try {
    process.send({ id, done: (await commands.get(command)(given ?? {})) ?? null });
  } catch (error) {
    process.send({ id, failed: String(error?.stack ?? error) });
  }
});
process.on('disconnect', () => process.exit(0));
