import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { get } from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';
import { until } from '../support/waiting.js';

/**
 * A service in a process of its own that ends as the documentation says; it tells its port and each request that has
 * reached its handler, and answers those when it is told to.
 */
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
// Far more than a test has: who ends, ends before the deadline.
process.once('SIGTERM', () => void mesh.close({ deadlineMs: 600_000 }));
await mesh.ready();
const held = [];
process.on('message', () => {
  for (const response of held.splice(0)) response.end('finished');
});
const server = mesh.createServer((request, response) => {
  if (request.url === '/at-once') return void response.end('finished');
  held.push(response);
  process.send('entered');
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
  const port = await new Promise<number>((done, fail) => {
    void exited.then(([code]) => fail(new Error(`the service ended with ${String(code)}`)));
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

function call(port: number, path = '/'): Promise<Finished | string> {
  return new Promise((done) => {
    get({ port, path, host: '127.0.0.1', agent: false, headers: { connection: 'keep-alive' } }, (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => (text += chunk.toString()));
      response.on('end', () => done({ status: response.statusCode ?? 0, connection: response.headers.connection, text }));
      response.on('error', (error: NodeJS.ErrnoException) => done(error.code ?? ''));
    }).on('error', (error: NodeJS.ErrnoException) => done(error.code ?? ''));
  });
}

/** Waits until the service takes no new connection: the signal has reached it. */
const isDraining = (port: number): Promise<void> =>
  until(async () => (await call(port, '/at-once')) === 'ECONNREFUSED', 'a refused connection');

describe('SIGTERM to a service under load', () => {
  it('finishes every request in flight with Connection: close, refuses new ones, and ends with 0 before the deadline', async () => {
    const { child, port, entered, exited } = await start();
    const flights = Array.from({ length: 50 }, () => call(port));
    await until(() => entered() === 50);
    child.kill('SIGTERM');
    await isDraining(port);
    expect(child.exitCode).toBeNull();
    child.send('finish');
    const finished = { status: 200, connection: 'close', text: 'finished' };
    expect(await Promise.all(flights)).toEqual(flights.map(() => finished));
    expect(await exited).toEqual([0, null]);
  });

  it('ends at once by the second signal, though a request hangs', async () => {
    const { child, port, entered, exited } = await start();
    const hanging = call(port);
    await until(() => entered() === 1);
    child.kill('SIGTERM');
    await isDraining(port);
    expect(child.exitCode).toBeNull();
    child.kill('SIGTERM');
    expect(await exited).toEqual([null, 'SIGTERM']);
    expect(await hanging).toBe('ECONNRESET');
  });
});
