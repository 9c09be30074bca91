import { spawn, spawnSync } from 'node:child_process';
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openLineSink, type LineSink } from './line-sink.js';
import { until } from '../../../../test/support/waiting.js';

let directory: string;
let file: string;
let sink: LineSink | undefined;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'enmesh-lines-'));
  file = join(directory, 'access.log');
});
afterEach(async () => {
  await sink?.close(1000);
  sink = undefined;
  rmSync(directory, { recursive: true, force: true });
});

const lossLine = (lost: number): string => `${lost} lost`;
const text = (path = file): string => readFileSync(path, 'utf8');

describe('a line sink', () => {
  it('appends to a file that only its owner may read', async () => {
    sink = await openLineSink({ target: { file }, lossLine });
    sink.write('one');
    await sink.close(1000);
    sink = await openLineSink({ target: { file }, lossLine });
    sink.write('two');
    sink.write('three');
    await sink.close(1000);
    expect(text()).toBe('one\ntwo\nthree\n');
    expect(statSync(file).mode & 0o777).toBe(0o600);
  });

  it('goes on in the new file when another stands under the name, or none', async () => {
    sink = await openLineSink({ target: { file }, lossLine, rotationMs: 0 });
    sink.write('one');
    await until(() => text() === 'one\n');
    renameSync(file, `${file}.1`);
    sink.write('two');
    await until(() => existsSync(file) && text() === 'two\n');
    expect(text(`${file}.1`)).toBe('one\n');
    expect(statSync(file).mode & 0o777).toBe(0o600);
  });

  it('goes on at the new end of a file that was copied and cut', async () => {
    sink = await openLineSink({ target: { file }, lossLine, rotationMs: 0 });
    sink.write('one');
    await until(() => text() === 'one\n');
    copyFileSync(file, `${file}.1`);
    truncateSync(file);
    sink.write('two');
    await until(() => text() === 'two\n');
  });

  it('keeps writing to the old file where the new one cannot be opened', async () => {
    sink = await openLineSink({ target: { file }, lossLine, rotationMs: 0 });
    sink.write('one');
    await until(() => text() === 'one\n');
    const kept = openSync(file, 'r');
    rmSync(directory, { recursive: true });
    sink.write('two');
    const bytes = Buffer.alloc(20);
    await until(() => readSync(kept, bytes, 0, 20, 0) === 8);
    closeSync(kept);
    expect(sink.lost).toBe(0);
  });

  it('loses what is above its bound, says how much in the log, and tells once why', async () => {
    const told: string[] = [];
    sink = await openLineSink({ target: { file }, lossLine, maxWaiting: 100, onLoss: (reason) => told.push(reason) });
    for (let at = 0; at < 1000; at++) sink.write('123456789');
    expect(sink.lost).toBe(990);
    await until(() => existsSync(file) && text().includes('lost'));
    sink.write('after');
    await sink.close(1000);
    expect(text().split('\n')).toEqual(['990 lost', ...Array.from({ length: 10 }, () => '123456789'), 'after', '']);
    expect(told).toEqual(['lines come faster than they can be written']);
  });

  it.skipIf(!existsSync('/dev/full'))('loses what a full disk does not take, and goes on', async () => {
    const told: string[] = [];
    sink = await openLineSink({ target: { file: '/dev/full' }, lossLine, onLoss: (reason) => told.push(reason) });
    sink.write('one');
    await until(() => sink?.lost === 1);
    expect(told).toEqual(['it cannot be written (ENOSPC)']);
  });

  it('refuses a file that cannot be opened, a pipe that nobody reads among them', async () => {
    await expect(openLineSink({ target: { file: join(directory, 'no', 'where') }, lossLine })).rejects.toMatchObject({
      code: 'ENOENT',
    });
    await expect(openLineSink({ target: { file: directory }, lossLine })).rejects.toMatchObject({ code: 'EISDIR' });
    if (spawnSync('mkfifo', [file]).status === 0)
      await expect(openLineSink({ target: { file }, lossLine })).rejects.toMatchObject({ code: 'ENXIO' });
  });

  it('waits for nobody: a pipe that is not read holds back a bounded number of lines and no caller', async () => {
    if (spawnSync('mkfifo', [file]).status !== 0) return;
    const reader = spawn('sleep', ['600'], { stdio: [openSync(file, constantsOf('r')), 'ignore', 'ignore'] });
    try {
      sink = await openLineSink({ target: { file }, lossLine, maxWaiting: 64 * 1024 });
      const line = 'x'.repeat(1000);
      // Who waited for the reader would wait until the end of the test.
      for (let at = 0; at < 100_000; at++) {
        sink.write(line);
        if (at % 1000 === 0) await new Promise((done) => setImmediate(done));
      }
      expect(sink.lost).toBeGreaterThan(99_000);
      await sink.close(100);
    } finally {
      reader.kill();
    }
  });

  it('writes at the end of a process that did not close it', () => {
    const module = new URL('../../dist/telemetry/line-sink.js', import.meta.url).href;
    const script = `import { openLineSink } from ${JSON.stringify(module)};
      const sink = await openLineSink({ target: { file: ${JSON.stringify(file)} }, lossLine: String });
      sink.write('last words');
      process.exit(0);`;
    expect(spawnSync(process.execPath, ['--input-type=module', '-e', script]).status).toBe(0);
    expect(text()).toBe('last words\n');
  });
});

/** Read and write: opening only one end of a pipe would wait for the other. */
const constantsOf = (_mode: string): string => 'r+';
