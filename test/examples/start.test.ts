import { type ChildProcess, spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';

const start = fileURLToPath(new URL('../../examples/shop/start.mjs', import.meta.url));
const free = { GATEWAY_PORT: '0', PRODUCT_PORT: '0', STOCK_PORT: '0', IDP_PORT: '0' };

interface Shop {
  readonly child: ChildProcess;
  /** Lines of standard output so far. */
  readonly lines: string[];
  readonly errors: string[];
  readonly ended: Promise<{ code: number | null; signal: string | null }>;
  /** Resolves with the lines when the last, a curl with a token, is there. */
  readonly ready: Promise<readonly string[]>;
}

const shops: Shop[] = [];
afterEach(async () => {
  for (const { child, ended } of shops.splice(0)) {
    child.kill('SIGKILL');
    await ended;
  }
});

function startShop(env: Record<string, string> = free): Shop {
  const child = spawn(process.execPath, [start], {
    env: { PATH: process.env['PATH'], ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const lines: string[] = [];
  const errors: string[] = [];
  let told: (lines: readonly string[]) => void;
  const ready = new Promise<readonly string[]>((done) => (told = done));
  let rest = '';
  child.stdout.on('data', (chunk: Buffer) => {
    const [...whole] = (rest + chunk.toString()).split('\n');
    rest = whole.pop() ?? '';
    lines.push(...whole);
    if (whole.some((line) => line.includes('Bearer'))) told(lines);
  });
  child.stderr.on('data', (chunk: Buffer) => errors.push(chunk.toString()));
  const ended = new Promise<{ code: number | null; signal: string | null }>((done) =>
    child.on('close', (code, signal) => done({ code, signal })),
  );
  const shop = { child, lines, errors, ended, ready };
  shops.push(shop);
  return shop;
}

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

/** Runs a printed curl line's request without curl, which not every machine has. */
async function paste(line: string): Promise<{ status: number; body: string }> {
  const [, header] = /-H '([^']+)'/.exec(line) ?? [];
  const [, url = ''] = /(http:\S+)$/.exec(line) ?? [];
  const [name, value] = header?.split(': ') ?? [];
  const answer = await fetch(url, name === undefined || value === undefined ? {} : { headers: { [name]: value } });
  return { status: answer.status, body: await answer.text() };
}

describe('npm run shop', () => {
  it('prints one line of JSON for each service, then the identity provider, then two calls that work as pasted, and ends with SIGTERM', async () => {
    const shop = startShop();
    const lines = await shop.ready;
    const told = lines.slice(0, 4).map((line) => JSON.parse(line) as { service: string; address: string; pid: number });
    expect(told.map(({ service }) => service).sort()).toEqual(['gateway', 'idp', 'product', 'stock']);
    expect(told[3]?.service).toBe('idp');
    const [without = '', with_ = ''] = lines.slice(4);
    expect(await paste(without)).toEqual({ status: 403, body: 'RBAC: access denied' });
    expect(await paste(with_)).toEqual({ status: 200, body: '{"id":"1","name":"Table lamp","quantity":12}' });
    shop.child.kill('SIGTERM');
    expect(await shop.ended).toEqual({ code: 0, signal: null });
    expect(told.filter(({ pid }) => isAlive(pid))).toEqual([]);
  });

  it('ends its services when it is killed without a word', async () => {
    const shop = startShop();
    const lines = await shop.ready;
    const pids = lines.slice(0, 4).map((line) => (JSON.parse(line) as { pid: number }).pid);
    shop.child.kill('SIGKILL');
    await expect.poll(() => pids.filter(isAlive)).toEqual([]);
    const { configuration } = JSON.parse(lines[3] ?? '{}') as { configuration: string };
    rmSync(dirname(configuration), { recursive: true });
  });

  it('ends with Ctrl-C while it is still starting', async () => {
    const shop = startShop();
    await expect.poll(() => shop.lines.length).toBeGreaterThan(0);
    shop.child.kill('SIGINT');
    expect(await shop.ended).toEqual({ code: 0, signal: null });
  });

  it('says which port is in use, and starts nothing', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await new Promise((done) => taken.once('listening', done));
    const { port } = taken.address() as AddressInfo;
    for (const name of ['GATEWAY_PORT', 'STOCK_PORT']) {
      const shop = startShop({ ...free, [name]: String(port) });
      expect((await shop.ended).code).toBe(1);
      expect(shop.errors.join('')).toMatch(new RegExp(`the shop does not start: .*${port}`));
      expect(shop.errors.join('')).not.toContain('    at ');
    }
    taken.close();
  });

  it('refuses a port that is none, by the name of its variable', async () => {
    const shop = startShop({ ...free, PRODUCT_PORT: '90810' });
    expect((await shop.ended).code).toBe(1);
    expect(shop.errors.join('')).toContain('PRODUCT_PORT must be a port from 0 to 65535, not `90810`');
  });
});
