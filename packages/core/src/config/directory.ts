import { isUtf8 } from 'node:buffer';
import { readdir, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { EnmeshError } from '../errors.js';
import type { Stop } from '../identity/source.js';
import { noticeEvents } from '../telemetry/events.js';
import { openAtOnce } from '../x509/small-file.js';
import { fingerprintFiles } from './fingerprint.js';
import {
  isConfigName,
  isMissing,
  isSameMark,
  isSameScan,
  markOf,
  ownFolder,
  scanDirectory,
  unreadableFile,
  type DirectoryScan,
  type FileFault,
  type ScannedFile,
} from './scan.js';
import { createSettling, type ReadState, type Touch } from './settle.js';
import type { ConfigFile } from './validate.js';
import { watchDirectory } from './watch.js';

/** Where configuration comes from: a directory, a cluster, a fixture. */
export interface ConfigSource {
  /**
   * Reads every file of the set; one that cannot be read is there with its `fault`, so that the problems of the others are told beside it. Rejects with an
   * `EnmeshError` when there is no set. Calls must not overlap.
   */
  read(): Promise<readonly ConfigFile[]>;
  /** Calls `onChange` when a new `read()` may give something else. */
  watch(onChange: () => void): Stop;
  /**
   * How long, in milliseconds, nothing had been changed in place when the last `read()` began: while it is short, a file may be half written.
   * Infinity, or no such member, when the set is whole.
   */
  quietFor?(): number;
  /** What to call it in messages: the directory's path. */
  readonly label?: string;
}

/** How {@link createDirectorySource} reads and watches; times are milliseconds, `clock` gives milliseconds since the epoch. */
export interface DirectorySourceOptions {
  readonly path: string;
  readonly clock?: () => number;
  /** How often the directory is looked at besides its events. Default 2000. */
  readonly pollMs?: number;
}

/** The largest file, and the largest set of files, that is read. */
export const maxFileBytes = 8 * 1024 * 1024;
const maxTotalBytes = 64 * 1024 * 1024;

/**
 * An Istio configuration directory: its `*.yaml`, `*.yml` and `*.json`, and those of its sub-folder `enmesh/`. File names are relative to it.
 * `read()` refuses with `ENMESH_CONFIG_DIRECTORY_MISSING`, `ENMESH_CONFIG_DIRECTORY_EMPTY`, `ENMESH_CONFIG_FILE_UNREADABLE` (a folder) and
 * `ENMESH_CONFIG_TOO_BIG` (the set); the fault of a single file is `ENMESH_CONFIG_FILE_UNREADABLE`, `ENMESH_CONFIG_TOO_BIG` or `ENMESH_CONFIG_NOT_UTF8`.
 * Another sub-folder that holds YAML is told once as a `config-warning`.
 */
export function createDirectorySource(o: DirectorySourceOptions): ConfigSource {
  const clock = o.clock ?? Date.now;
  const settling = createSettling();
  const warned = new Set<string>();
  let touches = new Map<string, Touch>();
  let quiet = Infinity;
  let wasRead = false;
  let ready: Promise<void> | undefined;

  async function readWhole(): Promise<readonly ConfigFile[]> {
    const startedAt = clock();
    const { scan, results } = await readSteadily(o.path);
    await warnIgnored(o.path, scan, warned);
    // Events of writes that came before the last byte was read are delivered within two turns of the event loop.
    await nextTurn();
    await nextTurn();
    const seen = touches;
    touches = new Map();
    quiet = settling.observe(
      results.map((result) => result.state),
      seen,
      { startedAt, endedAt: clock() },
    );
    wasRead = true;
    return results.map((result) => result.file);
  }

  return {
    label: o.path,
    async read() {
      await ready;
      try {
        return await readWhole();
      } catch (error) {
        // A set that was readable before may be in the middle of being replaced.
        const now = clock();
        quiet = wasRead ? settling.observe([], touches, { startedAt: now, endedAt: now }) : Infinity;
        throw error;
      }
    },
    watch(onChange) {
      const watching = watchDirectory({
        path: o.path,
        scan: () => scanDirectory(o.path),
        onChange,
        ...(o.pollMs === undefined ? {} : { pollMs: o.pollMs }),
        onTouch: (path, touch) => {
          if (touches.get(path) !== 'written' && (touches.size < 10_000 || touches.has(path))) touches.set(path, touch);
        },
      });
      // What is read before the watch stands could change unheard.
      ready = watching.ready;
      return watching.stop;
    },
    quietFor: () => quiet,
  };
}

interface ReadResult {
  readonly file: ConfigFile;
  readonly state: ReadState;
  /** It was found, and was gone when it was opened. */
  readonly isMissing: boolean;
}

interface SteadyRead {
  readonly scan: DirectoryScan;
  readonly results: readonly ReadResult[];
}

// A `..data` swap in the middle of a read would mix two versions of a ConfigMap, or delete a file between being found and being opened.
async function readSteadily(path: string): Promise<SteadyRead> {
  for (let attempt = 1; ; attempt++) {
    const isLast = attempt === 5;
    try {
      const scan = await scanDirectory(path);
      if (scan.files.length === 0) {
        const message = `configuration directory ${path} holds no .yaml, .yml or .json file`;
        throw new EnmeshError('ENMESH_CONFIG_DIRECTORY_EMPTY', message, { details: { path } });
      }
      const results = await readFiles(path, scan.files);
      const isSame = isSameScan(scan, await scanDirectory(path));
      if (isSame && (isLast || !results.some(({ isMissing: gone }) => gone))) return { scan, results };
      if (isLast) return { scan, results: results.map((one) => ({ ...one, state: { ...one.state, torn: true } })) };
    } catch (error) {
      if (isLast || !(error instanceof EnmeshError) || !isMissing(error.cause)) throw error;
      if (error.code === 'ENMESH_CONFIG_DIRECTORY_MISSING') throw error;
    }
  }
}

async function readFiles(path: string, files: readonly ScannedFile[]): Promise<readonly ReadResult[]> {
  const results: ReadResult[] = [];
  let total = 0;
  for (const file of files) {
    const { bytes, torn, fault } = await readBytes(file);
    total += bytes.length;
    if (total > maxTotalBytes) {
      throw new EnmeshError('ENMESH_CONFIG_TOO_BIG', `configuration directory ${path} holds more than ${maxTotalBytes} bytes`, {
        details: { path },
      });
    }
    const config: ConfigFile = {
      name: file.name,
      text: fault === undefined ? decode(bytes) : '',
      ...(file.meshConfig ? { meshConfig: true } : {}),
      ...(fault === undefined ? {} : { fault: { code: fault.code, message: fault.message } }),
    };
    const state = { file, digest: await fingerprintFiles([config]), torn };
    results.push({ file: config, state, isMissing: fault?.isMissing === true });
  }
  return results;
}

interface ReadBytes {
  readonly bytes: Buffer;
  readonly torn: boolean;
  readonly fault?: FileFault;
}

async function readBytes(file: ScannedFile): Promise<ReadBytes> {
  const failed = (fault: FileFault): ReadBytes => ({ bytes: Buffer.alloc(0), torn: false, fault });
  if (file.fault !== undefined) return failed(file.fault);
  let handle: FileHandle | undefined;
  try {
    handle = await openAtOnce(file.real);
    const stats = await handle.stat({ bigint: true });
    // A file when it was found may be a pipe when it is opened.
    if (!stats.isFile()) throw new Error('it is not a regular file');
    const before = markOf(stats);
    if (before.size > BigInt(maxFileBytes)) return failed(tooBig);
    // One byte more than the file had: a file that grew meanwhile shows it.
    const buffer = Buffer.alloc(Number(before.size) + 1);
    let length = 0;
    for (;;) {
      const { bytesRead } = await handle.read(buffer, length, buffer.length - length, length);
      length += bytesRead;
      if (bytesRead === 0 || length === buffer.length) break;
    }
    const after = markOf(await handle.stat({ bigint: true }));
    const torn = BigInt(length) !== before.size || !isSameMark(before, after) || !isSameMark(file.mark, before);
    const bytes = buffer.subarray(0, length);
    return { bytes, torn, ...(isUtf8(bytes) ? {} : { fault: notUtf8 }) };
  } catch (cause) {
    return failed(unreadableFile(cause));
  } finally {
    await handle?.close();
  }
}

const tooBig: FileFault = { code: 'ENMESH_CONFIG_TOO_BIG', message: `has more than ${maxFileBytes / 1024 / 1024} MiB` };
const notUtf8: FileFault = { code: 'ENMESH_CONFIG_NOT_UTF8', message: 'is not UTF-8 text' };

function decode(bytes: Buffer): string {
  const text = bytes.toString('utf8');
  return text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
}

async function warnIgnored(path: string, scan: DirectoryScan, warned: Set<string>): Promise<void> {
  for (const folder of scan.ignored) {
    if (warned.has(folder) || warned.size >= 1000) continue;
    const names = await readdir(join(path, folder)).catch(() => []);
    if (!names.some(isConfigName)) continue;
    warned.add(folder);
    noticeEvents.publish({
      kind: 'config-warning',
      level: 'warn',
      message: `${join(path, folder)} holds YAML that is not read: of the sub-folders only ${ownFolder}/ is (kubectl apply -f DIRECTORY enters none); move its files up if they are meant`,
      details: { path: join(path, folder) },
    });
  }
}
