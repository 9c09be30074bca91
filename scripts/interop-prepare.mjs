// Builds or downloads the real servers and programs of test/interop once, so that the suites find them: each start script is run until its server is
// ready, then stopped. Names as arguments; without any, all. One line each; fails only when a server that could be had did not start.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { prepareProgram, programs } from './interop-programs.mjs';

const servers = process.env.ENMESH_SERVERS ?? resolve(fileURLToPath(new URL('../../shared/servers', import.meta.url)));
/** In the order of what needs what: istiod starts a kube-apiserver of its own. */
const all = [...programs, 'ext-authz', 'envoy', 'step-ca', 'kube-apiserver', 'istiod', 'keycloak'];
/** A cold build of kube-apiserver or istiod takes ten minutes on two cores. */
const longestMs = 40 * 60_000;

const named = process.argv.slice(2);
const unknown = named.filter((name) => !all.includes(name));
if (unknown.length > 0) {
  console.error(`unknown: ${unknown.join(', ')}; known: ${all.join(', ')}`);
  process.exit(2);
}

/** What is running now, to be ended with us. */
let current;
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => {
    current?.kill('SIGTERM');
    process.exitCode = 130;
  });
}

/**
 * Runs one start script until it is ready, cannot be had, or fails.
 * @param {string} name
 * @returns {Promise<{outcome: 'ready' | 'skip' | 'FAILED', reason: string}>}
 */
async function prepare(name) {
  const script = join(servers, name, 'start.mjs');
  if (!existsSync(script)) return { outcome: 'skip', reason: `no ${name} below ENMESH_SERVERS` };
  const directory = mkdtempSync(join(tmpdir(), `enmesh-prepare-${name}-`));
  const child = spawn(process.execPath, [script, directory], { stdio: ['ignore', 'pipe', 'pipe'] });
  current = child;
  let said = '';
  let isReady = false;
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    child.kill('SIGTERM');
  }, longestMs);
  child.stderr.on('data', (chunk) => (said = (said + chunk).slice(-4000)));
  let out = '';
  child.stdout.on('data', (chunk) => {
    out += chunk;
    if (isReady || !out.includes('\n')) return;
    isReady = true;
    child.kill('SIGTERM');
  });
  const code = await new Promise((done) => {
    child.once('error', () => done(1));
    child.once('close', done);
  });
  clearTimeout(timer);
  current = undefined;
  rmSync(directory, { recursive: true, force: true });
  const reason = said.trim().split('\n').at(-1) ?? '';
  if (isReady) return { outcome: 'ready', reason: '' };
  if (code === 77) return { outcome: 'skip', reason: reason.replace(/^skip: /, '') };
  return { outcome: 'FAILED', reason: isLate ? `not ready after ${longestMs / 60_000} minutes` : reason };
}

for (const name of named.length > 0 ? named : all) {
  if (process.exitCode === 130) break;
  const started = Date.now();
  const { outcome, reason } = await (programs.includes(name) ? prepareProgram(name) : prepare(name));
  const seconds = ((Date.now() - started) / 1000).toFixed(1);
  console.log(`${outcome.padEnd(6)} ${name.padEnd(14)} ${seconds.padStart(7)} s${reason === '' ? '' : `  ${reason}`}`);
  if (outcome === 'FAILED') process.exitCode = 1;
}
