import { close, fstat, open, stat, write, writeSync, constants, type BigIntStats } from 'node:fs';
import { promisify } from 'node:util';

/** Where lines go: a file that is appended to, or a descriptor of the process (1, 2). */
export type LineTarget = { readonly file: string } | { readonly fd: number };

/** How a sink writes; what its bounds keep out is counted. */
export interface LineSinkOptions {
  readonly target: LineTarget;
  /** Bytes that may wait; default 1 MiB. */
  readonly maxWaiting?: number;
  /** How often at most a file is looked for anew under its name, in milliseconds; default 1000. */
  readonly rotationMs?: number;
  /** What is written where lines were lost, once there is room again. */
  readonly lossLine: (lost: number) => string;
  /** Told when lines begin to be lost, with why. */
  readonly onLoss?: (reason: string) => void;
}

/** Takes lines and never makes anybody wait. */
export interface LineSink {
  /** Takes one line, without its end. */
  write(line: string): void;
  /** How many lines were lost so far. */
  readonly lost: number;
  /** Writes what waits, within so many milliseconds, and closes the file. */
  close(withinMs: number): Promise<void>;
}

const openFile = promisify(open);
const statFile = promisify(stat) as (path: string, options: { bigint: true }) => Promise<BigIntStats>;
const statOpen = promisify(fstat) as (fd: number, options: { bigint: true }) => Promise<BigIntStats>;
const closeFile = promisify(close);
const writeBytes = promisify(write) as unknown as (
  fd: number,
  bytes: Uint8Array,
  offset: number,
  length: number,
  position: null,
) => Promise<{ bytesWritten: number }>;

// A pipe that nobody reads must refuse to open rather than hold a thread; for plain files it means nothing.
const flags = constants.O_APPEND | constants.O_CREAT | constants.O_WRONLY | (constants.O_NONBLOCK ?? 0);
const retryMs = 50;

/**
 * Opens a sink. A file is made with mode 0600, appended to, and opened anew when another stands under its name (logrotate's `create`) or none does; one that is
 * cut to nothing (`copytruncate`) goes on at its new end. One write is under way at a time, of everything that waited; lines beyond `maxWaiting` bytes are
 * lost, the newest first, and so is a batch that cannot be written. Rejects with the system's error when a file cannot be opened.
 */
export async function openLineSink(options: LineSinkOptions): Promise<LineSink> {
  const { target } = options;
  const sink = new Sink(options, 'fd' in target ? target.fd : await openFile(target.file, flags, 0o600));
  process.on('exit', sink.flushNow);
  return sink;
}

class Sink implements LineSink {
  readonly #options: LineSinkOptions;
  readonly #maxWaiting: number;
  #fd: number;
  #waiting: string[] = [];
  #size = 0;
  #untold = 0;
  #lookedAt = performance.now();
  #running: Promise<void> | undefined;
  #isTorn = false;
  #isClosed = false;
  #patience = Infinity;
  lost = 0;

  constructor(options: LineSinkOptions, fd: number) {
    this.#options = options;
    this.#maxWaiting = options.maxWaiting ?? 1024 * 1024;
    this.#fd = fd;
  }

  write(line: string): void {
    if (this.#isClosed || this.#size + line.length + 1 > this.#maxWaiting)
      return this.#lose(1, this.#isClosed ? 'the log is closed' : 'lines come faster than they can be written');
    this.#waiting.push(line);
    this.#size += line.length + 1;
    this.#running ??= this.#run();
  }

  async close(withinMs: number): Promise<void> {
    this.#isClosed = true;
    this.#patience = performance.now() + withinMs;
    await this.#running;
    process.off('exit', this.flushNow);
    if ('file' in this.#options.target) await closeFile(this.#fd).catch(() => {});
  }

  /** At the end of a process that did not close its mesh: one attempt, without waiting. */
  readonly flushNow = (): void => {
    try {
      if (this.#waiting.length > 0) writeSync(this.#fd, this.#take());
    } catch {
      // There is nobody left to tell.
    }
  };

  async #run(): Promise<void> {
    // What is written in this turn of the loop goes out together.
    await new Promise<void>((done) => void setImmediate(done));
    while (this.#waiting.length > 0) {
      const lines = this.#waiting.length;
      try {
        await this.#followName();
        await this.#writeAll(this.#take());
      } catch (error) {
        this.#lose(lines, `it cannot be written (${(error as NodeJS.ErrnoException).code ?? 'unknown reason'})`);
        // A disk that is full stays so for a while: what comes meanwhile waits, within its bound.
        if (!this.#isClosed) await pause(retryMs * 4);
      }
    }
    this.#running = undefined;
  }

  #take(): Buffer {
    const loss = this.#untold === 0 ? '' : `${this.#options.lossLine(this.#untold)}\n`;
    // A line that was cut off must not swallow the next one.
    const text = `${this.#isTorn ? '\n' : ''}${loss}${this.#waiting.join('\n')}\n`;
    this.#isTorn = false;
    this.#waiting = [];
    this.#size = 0;
    this.#untold = 0;
    return Buffer.from(text);
  }

  async #writeAll(bytes: Buffer): Promise<void> {
    for (let from = 0; from < bytes.length;) {
      this.#isTorn = from > 0;
      try {
        from += (await writeBytes(this.#fd, bytes, from, bytes.length - from, null)).bytesWritten;
      } catch (error) {
        // Whoever reads the pipe is slow.
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN' || performance.now() >= this.#patience) throw error;
        await pause(retryMs, this.#isClosed);
      }
    }
    this.#isTorn = false;
  }

  async #followName(): Promise<void> {
    const { target, rotationMs = 1000 } = this.#options;
    if (!('file' in target) || performance.now() - this.#lookedAt < rotationMs) return;
    this.#lookedAt = performance.now();
    const [named, held] = await Promise.all([
      statFile(target.file, { bigint: true }).catch(() => undefined),
      statOpen(this.#fd, { bigint: true }),
    ]);
    if (named !== undefined && named.ino === held.ino && named.dev === held.dev) return;
    const before = this.#fd;
    // Where the new one cannot be opened, the old one is still there to write to.
    this.#fd = await openFile(target.file, flags, 0o600).catch(() => before);
    if (this.#fd !== before) await closeFile(before).catch(() => {});
  }

  #lose(lines: number, reason: string): void {
    this.lost += lines;
    if (this.#untold === 0) this.#options.onLoss?.(reason);
    this.#untold += lines;
  }
}

/** A reader that stands still must not keep a process alive that has nothing else to do, unless it is closing. */
const pause = (ms: number, keepsAlive = false): Promise<void> =>
  new Promise((done) => {
    const timer = setTimeout(done, ms);
    if (!keepsAlive) timer.unref();
  });
