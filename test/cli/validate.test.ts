import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runEnmesh } from '../support/command-line.js';

const oracle = process.env['ENMESH_ORACLE'] ?? resolve(import.meta.dirname, '../../../shared/oracle');
const hasOracle = existsSync(join(oracle, 'invalid.ndjson'));
if (!hasOracle) console.log(`skip: no oracle below ${oracle} for validate --stream`);

let work = '';
beforeAll(() => {
  work = mkdtempSync(join(tmpdir(), 'enmesh-validate-'));
});
afterAll(() => rmSync(work, { recursive: true }));

function write(path: string, text: string | Buffer): string {
  const full = join(work, path);
  mkdirSync(dirname(full), { recursive: true });
  writeFileSync(full, text);
  return full;
}

const policy = (spec: string): string =>
  `apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a, namespace: b}\nspec: ${spec}\n`;

describe('enmesh validate', () => {
  it('tells all errors of all files at once, by their paths, and ends with 1', async () => {
    write('many/a.yaml', policy('{acton: DENY, rules: [{form: []}]}'));
    write('many/enmesh/mesh.yaml', 'trustDomian: x\n');
    const { code, out } = await runEnmesh(['validate', 'many'], { cwd: work });
    expect(code).toBe(1);
    expect(out).toMatch(/^error {3}many\/a\.yaml:4:8 spec\.acton: /m);
    expect(out).toMatch(/^error {3}many\/a\.yaml:4:30 spec\.rules\[0\]\.form: /m);
    expect(out).toMatch(/^error {3}many\/enmesh\/mesh\.yaml:1:1 trustDomian: /m);
    expect(out).toMatch(/^3 errors, 0 warnings in 2 files$/m);
  });

  it('ends with 0 when there are only warnings, and with 1 under --strict', async () => {
    write('warn/a.yaml', `${policy('{}')}---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n`);
    expect((await runEnmesh(['validate', 'warn'], { cwd: work })).code).toBe(0);
    expect((await runEnmesh(['validate', '--strict', 'warn'], { cwd: work })).code).toBe(1);
  });

  it('prints JSON with places and codes', async () => {
    write('json/a.yaml', policy('{acton: DENY}'));
    const { out } = await runEnmesh(['validate', '--json', 'json'], { cwd: work });
    expect(JSON.parse(out)).toMatchObject({
      errors: [
        { level: 'error', code: 'ENMESH_CONFIG_FIELD_UNKNOWN', file: 'json/a.yaml', line: 4, column: 8, path: 'spec.acton' },
      ],
      warnings: [],
      files: 1,
    });
  });

  it('reads standard input, and checks a service file as such', async () => {
    expect((await runEnmesh(['validate', '-'], { input: policy('{acton: DENY}') })).out).toContain('stdin:4:8 spec.acton');
    const service = write('enmesh.yaml', 'namespace: shop\nidentety: dev\n');
    expect((await runEnmesh(['validate', service])).out).toContain('enmesh.yaml:2:1 identety');
    write('enmesh.yaml', 'namespace: shop\nidentity: dev\n');
    expect((await runEnmesh(['validate', service])).code).toBe(0);
  });

  it('looks at a configuration once more for the workloads whose service files are named', async () => {
    write('doubt/mesh/a.yaml', policy('{selector: {matchLabels: {app: crat}}}').replace('namespace: b', 'namespace: shop'));
    write('doubt/cart/enmesh.yaml', 'namespace: shop\nlabels: {app: cart}\n');
    write('doubt/crat/enmesh.yaml', 'namespace: shop\nlabels: {app: crat}\n');
    const check = async (...paths: string[]): Promise<string> =>
      (await runEnmesh(['validate', ...paths], { cwd: join(work, 'doubt') })).out;
    expect(await check('mesh')).toBe('0 errors, 0 warnings in 1 file\n');
    expect(await check('mesh', 'cart/enmesh.yaml')).toMatch(
      /^warning mesh\/a\.yaml:1:1 spec\.selector\.matchLabels: selects no workload/m,
    );
    expect(await check('mesh', 'cart/enmesh.yaml', 'crat/enmesh.yaml')).toBe('0 errors, 0 warnings in 3 files\n');
  });

  it('checks enmesh.yaml and the directory that it names where nothing is named', async () => {
    write('here/enmesh.yaml', 'namespace: shop\nconfig: ./mesh\nlabels: {app: cart}\n');
    write('here/mesh/a.yaml', policy('{acton: DENY}'));
    const { code, out } = await runEnmesh(['validate'], { cwd: join(work, 'here') });
    expect([code, out]).toEqual([1, expect.stringMatching(/^error {3}mesh\/a\.yaml:4:8 spec\.acton: /)]);
    expect(out).toContain('1 error, 0 warnings in 2 files');
    rmSync(join(work, 'here/mesh'), { recursive: true });
    const gone = await runEnmesh(['validate'], { cwd: join(work, 'here') });
    expect([gone.code, gone.error]).toEqual([2, 'enmesh: mesh does not exist, which `config` in enmesh.yaml names\n']);
  });

  it('tells the problems of a directory beside a file that cannot be read', async () => {
    write('beside/a.yaml', Buffer.from([0x61, 0xff]));
    write('beside/b.yaml', policy('{acton: DENY}'));
    const { code, out } = await runEnmesh(['validate', 'beside'], { cwd: work });
    expect(code).toBe(1);
    expect(out).toMatch(/^error {3}beside\/a\.yaml:1:1: is not UTF-8 text$/m);
    expect(out).toMatch(/^error {3}beside\/b\.yaml:4:8 spec\.acton: /m);
  });

  it('checks each directory for itself, and single files as one configuration', async () => {
    const [one, two] = [write('one/a.yaml', policy('{}')), write('two/a.yaml', policy('{}'))];
    expect((await runEnmesh(['validate', dirname(one), dirname(two)])).code).toBe(0);
    const together = await runEnmesh(['validate', one, two]);
    expect([together.code, together.out.includes('ENMESH')]).toEqual([1, false]);
  });

  it('ends with 2 and one sentence when it is called wrongly', async () => {
    mkdirSync(join(work, 'nothing'), { recursive: true });
    for (const args of [['validate'], ['validate', '/nope'], ['validate', '--stream', 'x'], ['validate', '--nope'], ['nope']]) {
      const { code, out, error } = await runEnmesh(args, { cwd: join(work, 'nothing') });
      expect([args, code, out]).toEqual([args, 2, '']);
      expect(error).not.toMatch(/\n {4}at /);
    }
    expect((await runEnmesh(['validate', '/nope'])).error).toBe('enmesh: /nope does not exist\n');
  });

  it('refuses files that are too big, no UTF-8 or hidden behind control characters without repeating them', async () => {
    const big = write('big.yaml', Buffer.alloc(9 * 1024 * 1024, 'a'));
    expect((await runEnmesh(['validate', big])).code).toBe(1);
    expect((await runEnmesh(['validate', write('bytes.yaml', Buffer.from([0x61, 0xff]))])).code).toBe(2);
    const { out } = await runEnmesh(['validate', '-'], { input: policy('{"\\e[31mx": 1}') });
    expect(out).not.toContain('\u001b');
  });
});

describe('enmesh validate --stream', () => {
  const stream = async (lines: readonly string[]): Promise<{ errors: { line: number }[]; warnings: unknown[] }[]> => {
    const { code, out } = await runEnmesh(['validate', '--stream'], { input: lines.map((line) => `${line}\n`).join('') });
    expect(code).toBe(0);
    const answers = out
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as { errors: { line: number }[]; warnings: unknown[] });
    expect(answers).toHaveLength(lines.length);
    return answers;
  };

  it('answers line by line in order, whatever a line holds', async () => {
    const lines = [
      '',
      '{',
      JSON.stringify({ document: policy('{}') }),
      'null',
      JSON.stringify({ document: policy('{acton: 1}') }),
      '{"document": 1}',
    ];
    const answers = await stream(lines);
    expect(answers.map(({ errors }) => errors.length)).toEqual([1, 1, 0, 1, 1, 1]);
    expect(answers.flatMap(({ errors }) => errors).map(({ line }) => line)).toEqual([1, 1, 1, 4, 1]);
  });

  it('answers a line before the next one comes', async () => {
    const bin = resolve(import.meta.dirname, '../../packages/enmesh/dist/bin.js');
    const child = spawn(process.execPath, [bin, 'validate', '--stream'], { stdio: ['pipe', 'pipe', 'inherit'] });
    const answers: string[] = [];
    for (const line of ['{"document": "a: 1"}', 'x', '{"document": ""}']) {
      child.stdin.write(`${line}\n`);
      answers.push(await new Promise((done) => child.stdout.once('data', (chunk: Buffer) => done(chunk.toString()))));
    }
    child.stdin.end();
    await new Promise((done) => child.once('close', done));
    expect(answers.map((one) => one.split('\n').length)).toEqual([2, 2, 2]);
  });

  it('passes a line of 100 MB over with one error and goes on', async () => {
    const long = `{"document": "${'x'.repeat(100 * 1024 * 1024)}"}`;
    const answers = await stream([long, JSON.stringify({ document: policy('{}') })]);
    expect(answers.map(({ errors }) => errors.length)).toEqual([1, 0]);
  });

  it.skipIf(!hasOracle)('refuses every document that Istio refuses, at a line of it', async () => {
    const documents = readFileSync(join(oracle, 'invalid.ndjson'), 'utf8').trimEnd().split('\n');
    const answers = await stream(documents);
    const admitted = documents.filter((_, at) => answers[at]!.errors.length === 0);
    console.log(`validate --stream: ${answers.length - admitted.length} of ${answers.length} invalid documents refused`);
    // A comment before the first document is an empty document to Istio's own tool, not to kubectl.
    expect(admitted.filter((line) => !line.startsWith('{"document":"# c\\n---\\n'))).toEqual([]);
    expect(admitted.length).toBeLessThanOrEqual(1);
    for (const [at, { errors }] of answers.entries()) {
      const lines = (JSON.parse(documents[at]!) as { document: string }).document.split('\n').length;
      for (const { line } of errors) expect(line >= 1 && line <= lines).toBe(true);
    }
  });
});
