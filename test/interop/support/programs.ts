import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { until } from '../../support/waiting.js';

/** A program that a suite starts, and what its environment needs. */
export interface Program {
  readonly path: string;
  readonly env: NodeJS.ProcessEnv;
  /** As the program itself says. */
  readonly version: string;
}

const cache = process.env['ENMESH_SERVERS_CACHE'] ?? join(homedir(), '.cache/enmesh-servers');

/** Where `npm run interop:prepare` leaves a program that PATH does not have. */
const prepared: Readonly<Record<string, string>> = {
  haproxy: 'haproxy-debian/usr/sbin/haproxy',
  nginx: 'nginx-debian/usr/sbin/nginx',
  'go-spiffe-peer': 'go-spiffe-peer-1/go-spiffe-peer',
};

/** Finds a program on PATH, else among the prepared ones; undefined, with the reason in one line, where there is none. `versionArgument` makes it tell its version. */
export function findProgram(name: string, versionArgument: string): Program | undefined {
  const folders = (process.env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '');
  const own = prepared[name];
  const places = [...folders.map((folder) => join(folder, name)), ...(own === undefined ? [] : [join(cache, own)])];
  const path = places.find((place) => existsSync(place));
  if (path === undefined)
    return void console.log(`skip: no ${name}${own === undefined ? ' on PATH' : ': npm run interop:prepare'}`);
  const env = {
    ...process.env,
    LD_LIBRARY_PATH: own === undefined ? '' : join(cache, own.split('/')[0]!, 'usr/lib/x86_64-linux-gnu'),
  };
  return { path, env, version: versionOf(path, env, versionArgument) };
}

function versionOf(path: string, env: NodeJS.ProcessEnv, argument: string): string {
  // nginx tells it on standard error.
  const said = execFileSync('sh', ['-c', '"$0" "$1" 2>&1', path, argument], { env, encoding: 'utf8' });
  return said.split('\n')[0]!.trim();
}

/** A program that runs. `stop` ends this process and no other. */
export interface Running {
  readonly child: ChildProcess;
  /** The end of what it wrote to standard error. */
  said(): string;
  stop(): Promise<void>;
}

/** Starts a program in the foreground; its standard output is `child.stdout`. */
export function startProgram({ path, env }: Program, args: readonly string[]): Running {
  const child = spawn(path, args, { env, stdio: ['pipe', 'pipe', 'pipe'] });
  const exited = new Promise<void>((done) => child.once('close', () => done()));
  let said = '';
  child.on('error', (error) => (said += error.message));
  child.stderr.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-4000)));
  return {
    child,
    said: () => said,
    async stop() {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
      const killing = setTimeout(() => child.kill('SIGKILL'), 3000);
      await exited;
      clearTimeout(killing);
    },
  };
}

/** Waits until somebody listens at a port of loopback; fails with what the program said when it has ended. */
export async function listening(running: Running, port: number): Promise<void> {
  let isListening = false;
  const said = `somebody listens at ${port}`;
  await until(async () => running.child.exitCode !== null || (isListening = await answers(port)), said);
  if (!isListening) throw new Error(`nobody listens at ${port}: ${running.said()}`);
}

function answers(port: number): Promise<boolean> {
  return new Promise((done) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      done(true);
    });
    socket.once('error', () => done(false));
  });
}

/** A port of loopback that was free a moment ago, for programs that cannot tell which one they took. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  await new Promise((done) => server.close(done));
  return port;
}
