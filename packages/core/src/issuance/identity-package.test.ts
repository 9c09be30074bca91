import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadIdentityPackage } from './identity-package.js';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'enmesh-package-'));
});
afterEach(() => rm(root, { recursive: true, force: true }));
const load = (): unknown => loadIdentityPackage('@enmesh/istio', [join(root, 'package.json')]);
const install = async (source: string): Promise<void> => {
  const folder = join(root, 'node_modules/@enmesh/istio');
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'package.json'), '{"name": "@enmesh/istio", "type": "module", "exports": "./index.js"}');
  await writeFile(join(folder, 'index.js'), source);
};

describe('loadIdentityPackage', () => {
  it('finds the package in the application, also as an ES module', async () => {
    await install('export function createIstioIdentity() { return "here"; }');
    expect((load() as { createIstioIdentity(): string }).createIstioIdentity()).toBe('here');
  });

  it('says how to install what is absent', () => {
    expect(load).toThrow(expect.objectContaining({ code: 'ENMESH_ISSUANCE_PACKAGE_MISSING' }));
    expect(load).toThrow('npm install @enmesh/istio');
  });

  it('says that a package is there and cannot be loaded', async () => {
    await install('import "not-there";');
    expect(load).toThrow('@enmesh/istio cannot be loaded: ERR_MODULE_NOT_FOUND');
  });
});
