// Starting, hearing and ending one process of an example.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

// What the shell knows of a mesh, a cluster or a production of its own is not the example's.
const passedOn = ['PATH', 'HOME', 'TMPDIR', 'TEMP', 'TMP', 'SystemRoot', 'NODE_OPTIONS'];
const startMs = 30_000;
const endMs = 15_000;

/** The variables of our own environment that a process of an example gets, and `more`. */
export function cleanEnvironment(more = {}) {
  const kept = passedOn.filter((name) => process.env[name] !== undefined).map((name) => [name, process.env[name]]);
  return { ...Object.fromEntries(kept), ...more };
}

/**
 * Starts one process. It has its own process group, so that Ctrl-C reaches the starter alone, and a channel to us, whose end ends it too.
 * `preload` are modules that it loads before its own, `onLine(line, stream)` hears every line it writes, `onMessage` what it sends over the channel.
 */
export function startProcess({ name, file, cwd, env = {}, preload = [], onLine = () => {}, onMessage = () => {} }) {
  const child = spawn(process.execPath, [...preload.flatMap((url) => ['--import', String(url)]), file], {
    cwd,
    env: cleanEnvironment(env),
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    detached: true,
  });
  child.on('message', onMessage);
  const said = [];
  const hearers = new Set();
  const ended = new Promise((done) => {
    child.once('error', (error) => done({ code: null, error }));
    child.once('close', (code, signal) => done({ code, signal }));
  });
  const hear = (line, stream) => {
    if (stream === 'stderr') said.push(line);
    onLine(line, stream);
    for (const hearer of hearers) hearer(line, stream);
  };
  for (const stream of ['stdout', 'stderr']) createInterface({ input: child[stream] }).on('line', (line) => hear(line, stream));

  /** Resolves with the first value that `find` makes of a line, from line `from` of standard error on. */
  const find = (stream, make, { from = 0, what, withinMs = 10_000 }) =>
    new Promise((done, fail) => {
      const finish = (settle, value) => {
        hearers.delete(hearer);
        clearTimeout(timer);
        settle(value);
      };
      const hearer = (line, heard) => {
        const value = heard === stream ? make(line) : undefined;
        if (value !== undefined) finish(done, value);
      };
      const timer = setTimeout(() => finish(fail, new Error(`${name}: no ${what} within ${withinMs / 1000} s`)), withinMs);
      hearers.add(hearer);
      if (stream === 'stderr') for (const line of said.slice(from)) hearer(line, stream);
      void ended.then(() =>
        finish(fail, new Error(`${name} ended before ${what}: ${said.slice(-3).join(' | ') || 'without a word'}`)),
      );
    });

  const ready = find('stdout', announcementIn, { what: 'it was ready', withinMs: startMs });
  ready.catch(() => {});
  return {
    name,
    /** Its lines on standard error, as they come. */
    said,
    ended,
    /** Resolves with what it announced; rejects when it ends before. */
    ready,
    /** Resolves with the first line of standard error, from index `from`, that has `pattern`. */
    line: (pattern, { from = 0, what = 'the line that was waited for', withinMs } = {}) =>
      find('stderr', (line) => (pattern.test(line) ? line : undefined), { from, what, withinMs }),
    ask: (message) => askOverChannel(child, message),
    stop: () => stopChild(child, ended),
  };
}

function announcementIn(line) {
  try {
    const announcement = JSON.parse(line);
    return announcement.ready === true ? announcement : undefined;
  } catch {
    return undefined;
  }
}

let asked = 0;

function askOverChannel(child, message) {
  const id = ++asked;
  return new Promise((done, fail) => {
    const onMessage = (reply) => {
      if (reply.id !== id) return;
      child.off('message', onMessage);
      clearTimeout(timer);
      done(reply);
    };
    const timer = setTimeout(() => fail(new Error('no reply over the channel within 20 s')), 20_000);
    child.on('message', onMessage);
    child.send({ id, ...message });
  });
}

async function stopChild(child, ended) {
  if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), endMs);
  const result = await ended;
  clearTimeout(timer);
  return result;
}
