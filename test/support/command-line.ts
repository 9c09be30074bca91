import { spawn } from 'node:child_process';
import { resolve } from 'node:path';

const bin = resolve(import.meta.dirname, '../../packages/enmesh/dist/bin.js');

/** What a run of the command line gave. */
export interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly error: string;
}

/** Runs the built `enmesh` in a process of its own, with `input` on standard input. */
export function runEnmesh(
  args: readonly string[],
  o: { readonly input?: string | Buffer; readonly cwd?: string } = {},
): Promise<Ran> {
  return new Promise((done, fail) => {
    const env = { ...process.env, NO_COLOR: '1' };
    const child = spawn(process.execPath, [bin, ...args], { env, stdio: 'pipe', ...(o.cwd === undefined ? {} : { cwd: o.cwd }) });
    const out: Buffer[] = [];
    const error: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => error.push(chunk));
    child.on('error', fail);
    child.on('close', (code) =>
      done({ code, out: Buffer.concat(out).toString('utf8'), error: Buffer.concat(error).toString('utf8') }),
    );
    child.stdin.on('error', () => {});
    child.stdin.end(o.input ?? '');
  });
}
