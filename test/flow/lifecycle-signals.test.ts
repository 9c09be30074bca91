import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { get } from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';

/** A service in a process of its own that ends as the documentation says; it tells its port, and each request that has reached its handler. */
const service = `
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createMesh } from '@enmesh/core';
import { createTestAuthority } from '@enmesh/core/testing';

const config = mkdtempSync(join(tmpdir(), 'enmesh-signals-'));
writeFileSync(join(config, 'policies.yaml'), '');
const authority = await createTestAuthority();
const identity = await authority.identity({ namespace: 'shop', serviceAccount: 'product' });
const mesh = await createMesh({ namespace: 'shop', serviceAccount: 'product', config, identity, env: {}, log: false });
process.once('SIGTERM', () => void mesh.close());
await mesh.ready();
const server = mesh.createServer((request, response) => {
  process.send('entered');
  const after = new URL(request.url, 'http://product').searchParams.get('after');
  if (after !== 'never') setTimeout(() => response.end('finished'), Number(after));
}, { probePort: 0 });
server.listen(0, '127.0.0.1', () => process.send(server.address().port));
process.channel.unref();
`;

interface Service {
  readonly child: ChildProcess;
  readonly port: number;
  readonly entered: () => number;
  readonly exited: Promise<readonly unknown[]>;
}

const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

async function start(): Promise<Service> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', service], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  children.push(child);
  const exited = once(child, 'exit');
  let count = 0;
  const port = await new Promise<number>((done) => {
    child.on('message', (message) => {
      if (typeof message === 'number') done(message);
      else count += 1;
    });
  });
  return { child, port, entered: () => count, exited };
}

interface Finished {
  readonly status: number;
  readonly connection: string | undefined;
  readonly text: string;
}

function call(port: number, after: number | 'never'): Promise<Finished | string> {
  return new Promise((done) => {
    get(
      { port, host: '127.0.0.1', path: `/?after=${after}`, agent: false, headers: { connection: 'keep-alive' } },
      (response) => {
        let text = '';
        response.on('data', (chunk: Buffer) => (text += chunk.toString()));
        response.on('end', () => done({ status: response.statusCode ?? 0, connection: response.headers.connection, text }));
        response.on('error', (error: NodeJS.ErrnoException) => done(error.code ?? ''));
      },
    ).on('error', (error: NodeJS.ErrnoException) => done(error.code ?? ''));
  });
}

const until = async (isTrue: () => boolean): Promise<void> => {
  while (!isTrue()) await new Promise((done) => setTimeout(done, 5));
};

describe('SIGTERM to a service under load', () => {
  it('finishes every request in flight with Connection: close, refuses new ones, and ends with 0 before the deadline', async () => {
    const { child, port, entered, exited } = await start();
    const flights: Promise<Finished | string>[] = [];
    // 50 requests a second, with slow handlers: all of them are in flight when the signal comes.
    for (let i = 0; i < 50; i++) {
      flights.push(call(port, 1_500 + i * 10));
      await new Promise((done) => setTimeout(done, 20));
    }
    await until(() => entered() >= 45);
    const reached = entered();
    const since = performance.now();
    child.kill('SIGTERM');
    await new Promise((done) => setTimeout(done, 100));
    const late = await call(port, 0);
    const answers = await Promise.all(flights);
    const finished = answers.filter((answer) => typeof answer !== 'string');
    expect(finished.length).toBeGreaterThanOrEqual(reached);
    expect(new Set(finished.map(({ status, text }) => `${status} ${text}`))).toEqual(new Set(['200 finished']));
    expect(finished.filter(({ connection }) => connection === 'close').length).toBeGreaterThan(0);
    expect(late).toBe('ECONNREFUSED');
    expect(await exited).toEqual([0, null]);
    expect(performance.now() - since).toBeLessThan(10_000);
  }, 40_000);

  it('ends at once by the second signal, though a request hangs', async () => {
    const { child, port, entered, exited } = await start();
    const hanging = call(port, 'never');
    await until(() => entered() === 1);
    child.kill('SIGTERM');
    await new Promise((done) => setTimeout(done, 200));
    expect(child.exitCode).toBeNull();
    child.kill('SIGTERM');
    expect(await exited).toEqual([null, 'SIGTERM']);
    expect(await hanging).toBe('ECONNRESET');
  }, 40_000);
});
