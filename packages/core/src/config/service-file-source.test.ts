import { mkdtempSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { untilHolds } from '../../../../test/support/waiting.js';
import type { EnmeshError } from '../errors.js';
import type { ServiceFile } from './service-file.js';
import { readServiceFile, watchServiceFile, type ServiceFileSource, type ServiceFileWatch } from './service-file-source.js';

let directory: string;
let files: ServiceFile[];
let problems: EnmeshError[];
let isTaken: boolean;
let watching: ServiceFileWatch | undefined;
const path = (name = 'enmesh.yaml'): string => join(directory, name);

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'enmesh-file-'));
  [files, problems, isTaken] = [[], [], true];
});
afterEach(() => {
  watching?.stop();
  rmSync(directory, { recursive: true, force: true });
});

function begin(text: string, everyMs = 1 << 30): ServiceFileWatch {
  writeFileSync(path(), text);
  return watch(readServiceFile(path()), everyMs);
}

function watch(source: ServiceFileSource | undefined, everyMs = 1 << 30): ServiceFileWatch {
  if (source === undefined) throw new Error('no service file');
  const onFile = async (file: ServiceFile): Promise<boolean> => {
    files.push(file);
    return isTaken;
  };
  return (watching = watchServiceFile({ ...source, everyMs, onFile, onProblem: (error) => void problems.push(error) }));
}

describe('a service file that is watched', () => {
  it('is told when it has changed, and not again', async () => {
    const { look } = begin('accessLog: stdout\n');
    writeFileSync(path(), 'accessLog: stderr\n');
    await look();
    await look();
    expect(files).toEqual([{ accessLog: 'stderr' }]);
  });

  it('is told again at each look where it could not be put in force', async () => {
    const { look } = begin('accessLog: stdout\n');
    isTaken = false;
    writeFileSync(path(), 'accessLog: stderr\n');
    await look();
    await look();
    isTaken = true;
    await look();
    await look();
    expect(files).toHaveLength(3);
  });

  it('changes nothing where it is empty, gone, a folder, or not valid; each content is told once', async () => {
    const { look } = begin('accessLog: stdout\n');
    await look();
    for (const text of ['', 'accessLog: stdoot\n', 'accessLog: {file\n']) {
      writeFileSync(path(), text);
      await look();
      await look();
    }
    unlinkSync(path());
    await look();
    writeFileSync(path('other'), 'accessLog: stderr\n');
    renameSync(path('other'), path());
    await look();
    expect(files).toEqual([{ accessLog: 'stdout' }, { accessLog: 'stderr' }]);
    expect(problems.map(({ code }) => code)).toEqual(Array(3).fill('ENMESH_CONFIG_SERVICE_FILE_INVALID'));
    expect(problems[1]?.message).toContain(':1:12 accessLog');
  });

  it('is found behind a symbolic link that is turned, as in a ConfigMap', async () => {
    writeFileSync(path('a.yaml'), 'log: true\n');
    writeFileSync(path('b.yaml'), 'log: false\n');
    symlinkSync(path('a.yaml'), path());
    const { look } = watch(readServiceFile(path()));
    symlinkSync(path('b.yaml'), path('next'));
    renameSync(path('next'), path());
    await look();
    expect(files).toEqual([{ log: false }]);
  });

  it('counts by itself once it has been quiet', async () => {
    begin('accessLog: stdout\n', 20);
    writeFileSync(path(), 'accessLog: stderr\n');
    await untilHolds(() => expect(files.at(-1)).toEqual({ accessLog: 'stderr' }));
  });

  it('is not told of after the end of the watch', async () => {
    const { look, stop } = begin('accessLog: stdout\n');
    writeFileSync(path(), 'accessLog: stderr\n');
    stop();
    await look();
    expect(files).toEqual([]);
  });
});
