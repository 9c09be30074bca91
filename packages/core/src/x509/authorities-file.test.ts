import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestAuthority } from '../testing/authority.js';
import { createAuthoritiesFile } from './authorities-file.js';

const directory = mkdtempSync(join(tmpdir(), 'enmesh-authorities-'));
const path = join(directory, 'ca.pem');
const read = createAuthoritiesFile(path, (reason) => new Error(`caFile ${reason}`));
let roots: readonly string[];
beforeAll(async () => {
  roots = await Promise.all([createTestAuthority(), createTestAuthority()].map(async (made) => (await made).rootPem));
});
afterAll(() => rmSync(directory, { recursive: true }));

describe('a file of authorities', () => {
  it('gives its certificates and nothing else that stands there, and is read anew each time', async () => {
    writeFileSync(path, `# ours\n${roots[0]}-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n`);
    expect(await read()).toBe(roots[0]);
    writeFileSync(path, roots.join(''));
    expect(await read()).toBe(roots.join(''));
  });

  it('is refused where it is absent, empty, or holds what is no certificate', async () => {
    for (const [text, reason] of [
      ['', 'holds no certificate'],
      ['-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n', 'holds what is no certificate'],
      ['-----BEGIN CERTIFICATE-----\nAAAA\n', 'holds what is no certificate'],
    ] as const) {
      writeFileSync(path, text);
      await expect(read()).rejects.toThrow(`caFile ${reason}`);
    }
    rmSync(path);
    await expect(read()).rejects.toThrow('caFile cannot be read (ENOENT)');
  });

  it('is refused at once where it is a pipe that nobody writes to, or a device that never ends', async () => {
    const pipe = join(directory, 'pipe');
    execFileSync('mkfifo', [pipe]);
    for (const other of [pipe, '/dev/zero'])
      await expect(createAuthoritiesFile(other, (reason) => new Error(reason))()).rejects.toThrow(
        'cannot be read (it is no regular file)',
      );
  });
});
