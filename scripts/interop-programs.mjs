// Programs of the interop suites that need no start script: proxies from Debian's archive where PATH has none, and a peer of our own in Go.
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const cache = process.env.ENMESH_SERVERS_CACHE ?? join(homedir(), '.cache/enmesh-servers');

/** Unpacked, not installed: a program and the libraries that Debian's own image lacks. */
const debian = {
  haproxy: ['haproxy', 'liblua5.3-0', 'libopentracing-c-wrapper0', 'libopentracing1'],
  nginx: ['nginx'],
};

/** What `prepareProgram` knows, by the names of the suites. */
export const programs = [...Object.keys(debian), 'go-spiffe'];

/**
 * Makes one program ready in the cache.
 * @param {string} name one of `programs`
 * @returns {Promise<{outcome: 'ready' | 'skip' | 'FAILED', reason: string}>}
 */
export async function prepareProgram(name) {
  try {
    return name === 'go-spiffe' ? await buildGoPeer() : await unpackDebian(name);
  } catch (error) {
    return {
      outcome: 'FAILED',
      reason:
        String(error.stderr ?? error.message)
          .trim()
          .split('\n')
          .at(-1) ?? '',
    };
  }
}

const ready = { outcome: 'ready', reason: '' };
const onPath = (program) => (process.env.PATH ?? '').split(delimiter).some((folder) => existsSync(join(folder, program)));

async function unpackDebian(name) {
  const home = join(cache, `${name}-debian`);
  if (onPath(name) || existsSync(join(home, 'usr/sbin', name))) return ready;
  if (!onPath('apt-get') || !onPath('dpkg-deb')) return { outcome: 'skip', reason: `no ${name} on PATH, and no apt-get` };
  mkdirSync(cache, { recursive: true });
  const work = mkdtempSync(join(cache, `${name}-`));
  try {
    await run('apt-get', ['download', ...debian[name]], { cwd: work });
    const root = join(work, 'root');
    for (const file of readdirSync(work)) await run('dpkg-deb', ['-x', join(work, file), root]);
    // Whole or not at all, for suites that look while this runs.
    renameSync(root, home);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return ready;
}

async function buildGoPeer() {
  if (!onPath('go')) return { outcome: 'skip', reason: 'no go on PATH' };
  const home = join(cache, 'go-spiffe-peer-1');
  mkdirSync(home, { recursive: true });
  const next = join(home, `go-spiffe-peer.${process.pid}`);
  await run('go', ['build', '-trimpath', '-ldflags=-s -w', '-o', next, '.'], {
    cwd: fileURLToPath(new URL('../test/interop/support/go-spiffe', import.meta.url)),
    env: { ...process.env, CGO_ENABLED: '0' },
  });
  renameSync(next, join(home, 'go-spiffe-peer'));
  return ready;
}
