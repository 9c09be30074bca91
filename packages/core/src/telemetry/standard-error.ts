import { write } from 'node:fs';

const maxWaiting = 256;

/**
 * Writes lines to standard error without ever waiting for its reader: `process.stderr` is synchronous for files and pipes, and a log collector that
 * stands still would stop the service. One write is under way at a time; beyond 256 waiting lines the newest are dropped and counted.
 * Never throws; a closed pipe is as good as a reader that does not care.
 */
export function createStandardErrorWriter(fd = 2): (line: string) => void {
  let waiting: string[] = [];
  let dropped = 0;
  let isWriting = false;

  const next = (): void => {
    const lost = dropped === 0 ? '' : `enmesh ${dropped} lines were lost: standard error is not read\n`;
    const batch = waiting.join('') + lost;
    waiting = [];
    dropped = 0;
    if (batch !== '') writeAll(Buffer.from(batch), 0);
  };
  const writeAll = (bytes: Buffer, from: number): void => {
    isWriting = true;
    write(fd, bytes, from, bytes.length - from, null, (error, written) => {
      if (error !== null && error.code === 'EAGAIN') {
        setTimeout(() => writeAll(bytes, from), 50).unref();
      } else if (error === null && from + written < bytes.length) {
        writeAll(bytes, from + written);
      } else {
        isWriting = false;
        next();
      }
    });
  };
  return (line) => {
    if (waiting.length >= maxWaiting) dropped += 1;
    else waiting.push(`${line}\n`);
    if (!isWriting) next();
  };
}
