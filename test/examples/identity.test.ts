import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, describe, expect, it } from 'vitest';
import { parseServiceFile } from '@enmesh/core/config';
import { createTestAuthority } from '@enmesh/core/testing';
import { createFakeWorkloadApi } from '../support/workload-api.js';
import { untilHolds } from '../support/waiting.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const examples = join(root, 'examples/identity');
const page = readFileSync(join(root, 'docs/identity.md'), 'utf8');
const bin = join(root, 'packages/enmesh/dist/bin.js');
const shown = new Map(
  [...page.matchAll(/<!-- file: (?<file>[^>]+) -->\n\n```\w+\n(?<text>[\s\S]*?)^```$/gm)].map(({ groups }) => [
    groups!['file']!,
    groups!['text']!,
  ]),
);
const listed = (folder: string): readonly string[] =>
  readdirSync(join(root, folder), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length));

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

function temporary(): string {
  const folder = mkdtempSync(join(tmpdir(), 'enmesh-identity-'));
  closing.push(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Starts a program and resolves with the first line that it writes to standard output; `onError` hears what goes to standard error. */
function firstLine(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  onError: (text: string) => void = () => {},
): Promise<string> {
  const child: ChildProcess = spawn(process.execPath, args, {
    env: { PATH: process.env['PATH'], ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = new Promise<void>((done) => child.once('close', () => done()));
  closing.push(() => {
    child.kill();
    return ended;
  });
  return new Promise((done, fail) => {
    let [out, errors] = ['', ''];
    child.stdout!.on('data', (chunk: Buffer) => {
      out += chunk.toString();
      if (out.includes('\n')) done(out.slice(0, out.indexOf('\n')));
    });
    child.stderr!.on('data', (chunk: Buffer) => {
      errors += chunk.toString();
      onError(chunk.toString());
    });
    child.once('close', () => fail(new Error(`ended without a line: ${errors}`)));
  });
}

const service = (file: string, env: Readonly<Record<string, string>> = {}, onError?: (text: string) => void): Promise<string> =>
  firstLine(
    [join(examples, 'service.mjs')],
    { ENMESH_FILE: join(examples, file), ENMESH_CONFIG: join(examples, 'mesh'), PORT: '0', ...env },
    onError,
  );
const listens = /^spiffe:\/\/cluster\.local\/ns\/shop\/sa\/product listens on \d+$/;
const pod = { POD_NAMESPACE: 'shop', SERVICE_ACCOUNT: 'product' };

describe('docs/identity.md', () => {
  it('shows every file of the examples as it is', () => {
    for (const [file, text] of shown) expect(readFileSync(join(root, file), 'utf8')).toBe(text);
    expect([...shown.keys()].sort()).toEqual([...listed('examples/identity')].sort());
  });

  it('names service files that are valid', () => {
    const files = [...shown.keys()].filter((file) => /^examples\/identity\/\w[\w-]*(?<!-pod)\.yaml$/.test(file));
    expect(files).toHaveLength(7);
    for (const file of files) expect(parseServiceFile(shown.get(file)!, file).identity).toBeDefined();
  });
});

describe('the examples of identity', () => {
  it('run on a laptop', async () => {
    expect(await service('laptop.yaml', { ENMESH_DEV_DIRECTORY: join(temporary(), '.enmesh') })).toMatch(listens);
  });

  it('run while the bundle endpoints of partners cannot be reached', async () => {
    expect(await service('federation.yaml', { ENMESH_DEV_DIRECTORY: join(temporary(), '.enmesh') })).toMatch(listens);
  });

  it("run with cert-manager's files", async () => {
    const authority = await createTestAuthority();
    const svid = await authority.issue({ namespace: 'shop', serviceAccount: 'product' });
    const certs = temporary();
    writeFileSync(join(certs, 'tls.crt'), svid.chain);
    writeFileSync(join(certs, 'tls.key'), svid.privateKey.export({ type: 'pkcs8', format: 'pem' }));
    writeFileSync(join(certs, 'ca.crt'), authority.rootPem);
    expect(await service('cert-manager.yaml', { ...pod, ENMESH_IDENTITY_DIRECTORY: certs })).toMatch(listens);
  });

  it('wait for files that come later, and say what they look for', async () => {
    const certs = temporary();
    const starting = service('cert-manager.yaml', { ...pod, ENMESH_IDENTITY_DIRECTORY: certs });
    const authority = await createTestAuthority();
    const svid = await authority.issue({ namespace: 'shop', serviceAccount: 'product' });
    writeFileSync(join(certs, 'tls.key'), svid.privateKey.export({ type: 'pkcs8', format: 'pem' }));
    writeFileSync(join(certs, 'ca.crt'), authority.rootPem);
    // Longer than a process lives that nothing holds.
    await new Promise((done) => setTimeout(done, 1_500));
    writeFileSync(join(certs, 'tls.crt'), svid.chain);
    expect(await starting).toMatch(listens);
  });

  it.each([
    ['a key of another certificate', 'ENMESH_X509_KEY_INVALID', 'tls.key'],
    ['roots of nothing', 'ENMESH_ISSUANCE_FILES_UNUSABLE', 'ca.crt'],
  ])('wait with %s until it is mended, and say so meanwhile', async (_what, code, spoilt) => {
    const [certs, authority] = [temporary(), await createTestAuthority()];
    const [svid, other] = [
      await authority.issue({ namespace: 'shop', serviceAccount: 'product' }),
      await authority.issue({ namespace: 'shop', serviceAccount: 'other' }),
    ];
    const keyOf = ({ privateKey }: typeof svid) => privateKey.export({ type: 'pkcs8', format: 'pem' });
    const good = { 'tls.crt': svid.chain, 'tls.key': keyOf(svid), 'ca.crt': authority.rootPem };
    const bad = { ...good, ...(spoilt === 'tls.key' ? { 'tls.key': keyOf(other) } : { 'ca.crt': '# none\n' }) };
    for (const [name, text] of Object.entries(bad)) writeFileSync(join(certs, name), text);
    const said: string[] = [];
    const starting = service('cert-manager.yaml', { ...pod, ENMESH_IDENTITY_DIRECTORY: certs }, (line) => said.push(line));
    await untilHolds(() => expect(said.join('')).toContain(code));
    for (const [name, text] of Object.entries(good)) writeFileSync(join(certs, name), text);
    expect(await starting).toMatch(listens);
  });

  it('run with a Workload API', async () => {
    const api = await createFakeWorkloadApi({ trustDomain: 'cluster.local' });
    closing.push(() => api.stop());
    await api.register({ namespace: 'shop', serviceAccount: 'product' });
    expect(await service('spire.yaml', { SPIFFE_ENDPOINT_SOCKET: api.uri })).toMatch(listens);
  });

  it('run on a virtual machine with enmesh ca and a join token', async () => {
    const folder = temporary();
    const [ca, token] = [join(folder, 'ca'), join(folder, 'join-token')];
    const enmesh = (...args: readonly string[]) => promisify(execFile)(process.execPath, [bin, 'ca', ...args]);
    await enmesh('init', '--directory', ca, '--name', 'ca.example.com');
    const line = await firstLine([bin, 'ca', 'run', '--directory', ca, '--listen', '127.0.0.1:0', '--json'], {});
    await enmesh('token', '--directory', ca, '-n', 'shop', '-s', 'product', '--out', token);
    const { address } = JSON.parse(line) as { address: string };
    const text = shown
      .get('examples/identity/vm.yaml')!
      .replace('ca.example.com:15012', address)
      .replace('/etc/enmesh/root-cert.pem', join(ca, 'root-cert.pem'))
      .replace('/etc/enmesh/join-token', token);
    mkdirSync(join(folder, 'service'));
    writeFileSync(join(folder, 'service/vm.yaml'), text);
    expect(await service('vm.yaml', { ENMESH_FILE: join(folder, 'service/vm.yaml') })).toMatch(listens);
  });

  it('say in production what they looked for and did not find', async () => {
    const nothing = join(temporary(), 'enmesh.yaml');
    writeFileSync(nothing, 'namespace: shop\n');
    const failing = service('laptop.yaml', { ENMESH_FILE: nothing, NODE_ENV: 'production' });
    await expect(failing).rejects.toThrow('OUTPUT_CERTS, /var/run/secrets/workload-spiffe-credentials');
  });
});
