import { type ChildProcess, spawn } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { runEnmesh } from '../support/command-line.js';

const folder = fileURLToPath(new URL('../../examples/boutique/', import.meta.url));
const work = mkdtempSync(join(tmpdir(), 'enmesh-boutique-test-'));
let running: ChildProcess | undefined;

afterEach(() => void running?.kill('SIGKILL'));
afterAll(() => rmSync(work, { recursive: true, force: true }));

interface Walk {
  readonly code: number | null;
  readonly lines: readonly string[];
  readonly error: string;
}

/** Runs the walk; its temporary files go where we can look for them. */
async function walk(args: readonly string[] = []): Promise<Walk> {
  const child = spawn(process.execPath, ['walk.mjs', ...args], {
    cwd: folder,
    env: { PATH: process.env['PATH'], TMPDIR: work },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running = child;
  let out = '';
  let error = '';
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (error += chunk.toString()));
  const code = await new Promise<number | null>((done) => child.on('close', done));
  return { code, lines: out.trimEnd().split('\n'), error };
}

/** Whether frontend, whose address the walk prints first, still answers the phone. */
function isOpen([first = '']: readonly string[]): Promise<boolean> {
  return new Promise((done) => {
    const socket = connect(Number(/:(\d+)$/.exec(first)?.[1]), '127.0.0.1', () => done(true));
    socket.on('error', () => done(false)).on('connect', () => socket.destroy());
  });
}

const leftovers = (): readonly string[] => readdirSync(work).filter((name) => name.startsWith('enmesh-boutique-'));

describe('npm run boutique', () => {
  it('has policies that `enmesh validate` has nothing to say of', async () => {
    const { code, out } = await runEnmesh(['validate', join(folder, 'mesh')]);
    expect([code, out]).toEqual([0, expect.stringMatching(/^0 errors, 0 warnings in \d+ files\n$/)]);
  });

  it('places an order, sees every wrong call refused for its reason, and leaves nothing behind', async () => {
    const { code, lines, error } = await walk();
    expect(error).toBe('');
    expect(lines.filter((line) => line.startsWith('NO'))).toEqual([]);
    expect(lines.at(-1)).toMatch(/^(\d+) of \1 as expected, \d/);
    expect(lines.filter((line) => line.startsWith('ok')).length).toBe(Number(/^\d+/.exec(lines.at(-1) ?? '')?.[0]));
    expect(lines.filter((line) => line.startsWith('ok')).length).toBeGreaterThan(45);
    expect(code).toBe(0);
    // Signed tokens went through many hands: none may have come out.
    expect(lines.join('\n')).not.toContain('eyJ');
    expect(await isOpen(lines)).toBe(false);
    expect(leftovers()).toEqual([]);
  });

  it('fails, and says where, when a policy lets somebody in who has no business there', async () => {
    const policies = join(work, 'policies');
    cpSync(join(folder, 'mesh'), policies, { recursive: true });
    const file = join(policies, 'ordering.yaml');
    const [before = '', after = ''] = readFileSync(file, 'utf8').split('metadata: { name: payment, namespace: boutique }');
    const opened = after.replace(/principals: \[[^\]]+sa\/checkout\]\n\s+requestPrincipals: .*\n/, "principals: ['*']\n");
    expect(opened).not.toBe(after);
    writeFileSync(file, `${before}metadata: { name: payment, namespace: boutique }${opened}`);
    const { code, lines } = await walk([policies]);
    expect(code).toBe(1);
    expect(lines.filter((line) => line.startsWith('NO')).map((line) => line.slice(4, line.indexOf(' -> ')))).toEqual([
      'frontend to payment: POST /charges',
      'checkout to payment, for nobody: POST /charges',
    ]);
    expect(lines.at(-1)).toMatch(/^\d+ of \d+ as expected/);
    expect(await isOpen(lines)).toBe(false);
    expect(leftovers()).toEqual([]);
  });

  it('says what is wrong with policies that nobody can load, and ends', async () => {
    const policies = join(work, 'broken');
    cpSync(join(folder, 'mesh'), policies, { recursive: true });
    writeFileSync(
      join(policies, 'default-deny.yaml'),
      readFileSync(join(policies, 'default-deny.yaml'), 'utf8').replace('spec:', 'spce:'),
    );
    const { code, error } = await walk([policies]);
    expect(code).toBe(1);
    expect(error).toMatch(/the walk ended: .*default-deny\.yaml:\d+:\d+/);
    expect(leftovers()).toEqual([]);
  });
});
