import { readFileSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { EnmeshError, isEnmeshError } from '../errors.js';
import { readSmallFile } from '../x509/small-file.js';
import { isSameMark, markOf, type FileMark } from './scan.js';
import { parseServiceFile, type ServiceFile } from './service-file.js';

/** `enmesh.yaml` where it was found at the start: `path` is absolute, `name` is what messages call it. */
export interface ServiceFileSource {
  readonly path: string;
  readonly name: string;
  readonly file: ServiceFile;
}

/**
 * Reads the service file that is named, else `./enmesh.yaml` where there is one; undefined without one. Throws `ENMESH_CONFIG_FILE_UNREADABLE`, or
 * `ENMESH_CONFIG_SERVICE_FILE_INVALID`.
 */
export function readServiceFile(named: string | undefined): ServiceFileSource | undefined {
  const name = named ?? 'enmesh.yaml';
  const path = resolve(name);
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    if (named === undefined && (cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw unreadable(name, cause);
  }
  return { path, name, file: parseServiceFile(text, name) };
}

/** The folder that paths in a service file are relative to; without one the working directory. */
export const baseOf = (source: ServiceFileSource | undefined): string =>
  source === undefined ? process.cwd() : dirname(source.path);

/** How a service file is watched. */
export interface ServiceFileWatchOptions extends ServiceFileSource {
  /** Gets each new content. False, where it cannot be put in force yet: it is told again at each look. */
  readonly onFile: (file: ServiceFile) => Promise<boolean>;
  /** Told once of each content that is not used. */
  readonly onProblem: (error: EnmeshError) => void;
  /** How often it is looked at, in milliseconds; default 1000. */
  readonly everyMs?: number;
}

/** A watch under way. */
export interface ServiceFileWatch {
  /** Looks now, without waiting for quiet: whoever calls says that the file is whole. */
  look(): Promise<void>;
  stop(): void;
}

/**
 * Watches a service file by its times, through symbolic links, also of a ConfigMap. A content counts when two looks saw it unchanged, for a file may be half written; one that
 * is gone, empty or not valid changes nothing. Never keeps the process alive.
 */
export function watchServiceFile({
  path,
  name,
  file,
  onFile,
  onProblem,
  everyMs = 1000,
}: ServiceFileWatchOptions): ServiceFileWatch {
  let [seen, read]: (FileMark | undefined)[] = [];
  let [known, isInForce, isStopped] = [file, true, false];
  let turn: Promise<void> = Promise.resolve();
  let timer: NodeJS.Timeout | undefined;

  const look = async (isWhole: boolean): Promise<void> => {
    const mark = await stat(path, { bigint: true }).then(markOf, () => undefined);
    const isQuiet = mark !== undefined && (isWhole || (seen !== undefined && isSameMark(seen, mark)));
    seen = mark;
    if (isStopped) return;
    if (isQuiet && (read === undefined || !isSameMark(read, mark))) {
      read = mark;
      try {
        known = await readContent(path, name);
        isInForce = false;
      } catch (error) {
        onProblem(isEnmeshError(error) ? error : unreadable(name, error));
      }
    }
    if (!isInForce && !isStopped) isInForce = await onFile(known);
  };
  const inTurn = (isWhole: boolean): Promise<void> => (turn = turn.then(() => look(isWhole)).catch(() => {}));
  const wait = (): void => {
    if (!isStopped) timer = setTimeout(() => void inTurn(false).then(wait), everyMs).unref();
  };
  wait();
  return {
    look: () => inTurn(true),
    stop() {
      isStopped = true;
      clearTimeout(timer);
    },
  };
}

const maxBytes = 1 << 20;

async function readContent(path: string, name: string): Promise<ServiceFile> {
  const { text } = await readSmallFile(path, maxBytes);
  const file = parseServiceFile(text, name);
  if (Object.keys(file).length > 0) return file;
  throw new EnmeshError('ENMESH_CONFIG_SERVICE_FILE_INVALID', `${name} is empty`);
}

function unreadable(name: string, cause: unknown): EnmeshError {
  return new EnmeshError('ENMESH_CONFIG_FILE_UNREADABLE', `${name} cannot be read: ${(cause as Error).message}`, { cause });
}
