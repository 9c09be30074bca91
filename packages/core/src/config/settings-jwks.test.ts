import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { readSettings, type MeshOptions } from './settings.js';

const directory = mkdtempSync(join(tmpdir(), 'enmesh-settings-'));
const file = join(directory, 'enmesh.yaml');
writeFileSync(file, 'namespace: shop\nconfig: mesh\njwks:\n  snapshotDirectory: keys\n  "https://a": {insecureHttp: true}\n');
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const read = (options: MeshOptions = {}) => readSettings({ file, env: {}, ...options });
const env = { ENMESH_JWKS_SNAPSHOT_DIRECTORY: 'from-env' };

it('keeps key sets where code, the environment or the file says, in this order, and nowhere by default', () => {
  expect(read().snapshotDirectory).toBe(join(directory, 'keys'));
  expect(read({ env }).snapshotDirectory).toBe(resolve('from-env'));
  expect(read({ env, jwks: { snapshotDirectory: 'from-code' } }).snapshotDirectory).toBe(resolve('from-code'));
  writeFileSync(join(directory, 'bare.yaml'), 'namespace: shop\nconfig: mesh\n');
  expect(read({ file: join(directory, 'bare.yaml') }).snapshotDirectory).toBe(undefined);
});

it('keeps bundles where code, the environment or the file says, in this order, and nowhere by default', () => {
  const named = join(directory, 'bundles.yaml');
  writeFileSync(named, 'namespace: shop\nconfig: mesh\nbundleSnapshotDirectory: bundles\n');
  const from = { ENMESH_BUNDLE_SNAPSHOT_DIRECTORY: 'from-env' };
  expect(read().bundleSnapshotDirectory).toBe(undefined);
  expect(read({ file: named }).bundleSnapshotDirectory).toBe(join(directory, 'bundles'));
  expect(read({ file: named, env: from }).bundleSnapshotDirectory).toBe(resolve('from-env'));
  expect(read({ env: from, bundleSnapshotDirectory: 'from-code' }).bundleSnapshotDirectory).toBe(resolve('from-code'));
});

it('allows plain http by issuer, code before the file', () => {
  const { insecureHttp } = read({ jwks: { 'https://b': { insecureHttp: true }, 'https://a': {} } });
  expect(['https://a', 'https://b', 'https://c', 'snapshotDirectory', '__proto__', 'toString'].map(insecureHttp)).toEqual([
    ...[false, true, false, false, false, false],
  ]);
  expect(read({ jwks: { snapshotDirectory: 'x' } }).insecureHttp('https://a')).toBe(true);
});
