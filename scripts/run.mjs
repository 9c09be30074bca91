import { spawn } from 'node:child_process';

/**
 * Runs a program without a shell and without standard input, shows its output as it comes and keeps it.
 * A program that outlives `timeoutMs` is ended and counts as failed.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{cwd?: string, env?: NodeJS.ProcessEnv, timeoutMs?: number, quiet?: boolean}} [options]
 * @returns {Promise<{code: number, output: string, stdout: string, seconds: number}>} output is both streams as they came
 */
export function run(command, args, { cwd, env, timeoutMs = 900_000, quiet = false } = {}) {
  const started = Date.now();
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'], ...ownGroup });
    const chunks = [];
    const out = [];
    const textOf = (parts) => Buffer.concat(parts).toString();
    const done = (code) => resolve({ code, output: textOf(chunks), stdout: textOf(out), seconds: (Date.now() - started) / 1000 });
    const hear = (sink) => (chunk) => {
      chunks.push(chunk);
      if (sink === process.stdout) out.push(chunk);
      if (!quiet) sink.write(chunk);
    };
    running.add(child);
    endTogether();
    const timer = setTimeout(() => {
      chunks.push(Buffer.from(`\n${command} was ended after ${timeoutMs / 1000} s\n`));
      endGroup(child, 'SIGTERM');
      setTimeout(() => endGroup(child, 'SIGKILL'), 5_000).unref();
    }, timeoutMs);
    child.stdout.on('data', hear(process.stdout));
    child.stderr.on('data', hear(process.stderr));
    child.on('error', (error) => {
      clearTimeout(timer);
      chunks.push(Buffer.from(`${error.message}\n`));
      done(127);
    });
    child.on('close', (code) => {
      running.delete(child);
      clearTimeout(timer);
      done(code ?? 1);
    });
  });
}

/**
 * Runs npm: the very npm that started this script where there is one, so that no shell is needed on Windows.
 * @param {readonly string[]} args
 * @param {Parameters<typeof run>[2]} [options]
 */
export function runNpm(args, options) {
  const cli = process.env.npm_execpath;
  if (cli !== undefined && /npm-cli\.[cm]?js$/.test(cli)) return run(process.execPath, [cli, ...args], options);
  return process.platform === 'win32' ? run('cmd', ['/d', '/s', '/c', 'npm', ...args], options) : run('npm', args, options);
}

// A process group of its own, so that a timeout also ends what the program started.
const ownGroup = { detached: process.platform !== 'win32' };
const running = new Set();
let isTogether = false;

/** A group of its own hears no Ctrl-C and no SIGTERM of ours: they are passed on. */
function endTogether() {
  if (isTogether) return;
  isTogether = true;
  for (const signal of ['SIGINT', 'SIGTERM']) {
    process.once(signal, () => {
      for (const child of running) endGroup(child, 'SIGKILL');
      process.exit(signal === 'SIGINT' ? 130 : 143);
    });
  }
}

function endGroup(child, signal) {
  if (child.pid === undefined) return;
  try {
    if (ownGroup.detached) process.kill(-child.pid, signal);
    else child.kill(signal);
  } catch {
    child.kill(signal); // the group is gone already
  }
}
