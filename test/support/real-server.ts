import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';

/** A real server that a start script runs for one suite. */
export interface RealServer<Ready> {
  /** What the script printed when the server was ready. */
  readonly ready: Ready;
  /** The directory of its logs, keys and databases; gone after `stop`. */
  readonly directory: string;
  /** To the start script, which hands some on. */
  signal(name: NodeJS.Signals): void;
  stop(): Promise<void>;
}

const servers = process.env['ENMESH_SERVERS'] ?? resolve(import.meta.dirname, '../../../shared/servers');
const cache = process.env['ENMESH_SERVERS_CACHE'] ?? join(homedir(), '.cache/enmesh-servers');

/** What must stand in the cache or on PATH before a suite starts a server that has to be built or downloaded: `npm run interop:prepare` makes it. */
const built: Readonly<Record<string, readonly string[]>> = {
  'kube-apiserver': ['kube-apiserver'],
  istiod: ['kube-apiserver', 'pilot-discovery'],
  'step-ca': ['step-ca'],
  envoy: ['envoy'],
  keycloak: ['keycloak'],
};

/** Starts `NAME/start.mjs` of ENMESH_SERVERS; undefined, with the reason in one line, where the server cannot be had. Its process is the only one that `stop` ends. */
export async function startRealServer<Ready>(
  name: string,
  env: Readonly<Record<string, string>> = {},
): Promise<RealServer<Ready> | undefined> {
  const script = join(servers, name, 'start.mjs');
  const absent = !existsSync(script) ? `no ${name} below ENMESH_SERVERS` : unpreparedReason(name);
  if (absent !== undefined) return void console.log(`skip: ${absent}`);
  const directory = mkdtempSync(join(tmpdir(), `enmesh-${name}-`));
  const child = spawn(process.execPath, [script, directory], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  });
  const exited = new Promise<void>((done) => child.once('exit', () => done()));
  const stop = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
    await exited;
    rmSync(directory, { recursive: true, force: true });
  };
  let out = '';
  let problem = '';
  child.stderr.on('data', (chunk: Buffer) => (problem = (problem + chunk.toString()).slice(-4000)));
  const line = await new Promise<string | undefined>((done) => {
    void exited.then(() => done(undefined));
    child.stdout.on('data', (chunk: Buffer) => {
      out += chunk.toString();
      if (out.includes('\n')) done(out.slice(0, out.indexOf('\n')));
    });
  });
  if (line !== undefined)
    return { ready: JSON.parse(line) as Ready, directory, signal: (signal) => void child.kill(signal), stop };
  await stop();
  if (child.exitCode !== 77) throw new Error(`the ${name} server failed: ${problem}`);
  console.log(`skip: ${problem.trim().split('\n').at(-1)}`);
  return undefined;
}

function unpreparedReason(name: string): string | undefined {
  const kept = existsSync(cache) ? readdirSync(cache) : [];
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  const isOnPath = (part: string): boolean => folders.some((folder) => folder !== '' && existsSync(join(folder, part)));
  const missing = (built[name] ?? []).filter((part) => !isOnPath(part) && !kept.some((entry) => entry.startsWith(part)));
  return missing.length === 0 ? undefined : `${name} is not built (${missing.join(', ')}): npm run interop:prepare ${name}`;
}
