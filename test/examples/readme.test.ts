import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { sendRaw } from '../support/house.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const minimal = join(root, 'examples', 'minimal');
const readme = readFileSync(join(root, 'README.md'), 'utf8');

interface Snippet {
  readonly mark: string | undefined;
  readonly language: string;
  readonly text: string;
}

const snippets: Snippet[] = [
  ...readme.matchAll(/(?:<!-- (?<mark>[^>]+) -->\n\n)?^```(?<language>\w+)\n(?<text>[\s\S]*?)^```$/gm),
].map(({ groups }) => ({ mark: groups?.['mark'], language: groups?.['language'] ?? '', text: groups?.['text'] ?? '' }));
const marked = (mark: string): string => snippets.find((snippet) => snippet.mark === mark)?.text ?? `no snippet ${mark}`;

describe('the README', () => {
  const files = snippets.flatMap(({ mark, text }) =>
    mark?.startsWith('file: ') ? [[mark.slice('file: '.length), text] as const] : [],
  );

  it.each(files)('shows %s as it is', (file, text) => {
    expect(text).toBe(readFileSync(join(root, file), 'utf8'));
  });

  it('has no code that is not a file which runs', () => {
    const loose = snippets.filter(({ mark, language }) => mark === undefined && !['sh', 'mermaid'].includes(language));
    expect(loose).toEqual([]);
    expect(files.map(([file]) => file)).toHaveLength(5);
  });

  it('names scripts that package.json has', () => {
    const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: Record<string, string> };
    const named = [...readme.matchAll(/npm run ([\w:]+)/g)].map(([, name = '']) => name);
    expect([...new Set(named)].filter((name) => !(name in scripts))).toEqual([]);
  });

  it('links to files that exist', () => {
    const links = [...readme.matchAll(/\]\(([^)#:]+)\)/g)].map(([, path = '']) => path);
    expect(links.filter((path) => !existsSync(join(root, path)))).toEqual([]);
    expect(links.length).toBeGreaterThan(8);
  });
});

/** A port that was free a moment ago. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((done) => server.once('listening', done));
  const { port } = server.address() as AddressInfo;
  await new Promise((done) => server.close(done));
  return port;
}

function isOpen(port: number): Promise<boolean> {
  return new Promise((done) => {
    const socket = connect(port, '127.0.0.1', () => done(true));
    socket.on('error', () => done(false)).on('connect', () => socket.destroy());
  });
}

describe('the smallest examples', () => {
  const directory = mkdtempSync(join(tmpdir(), 'enmesh-minimal-'));
  let server: ChildProcess | undefined;
  let port = 0;
  const env = (): Record<string, string> => ({
    PATH: process.env['PATH'] ?? '',
    PORT: String(port),
    ENMESH_CONFIG: join(directory, 'mesh'),
    ENMESH_DEV_DIRECTORY: join(directory, '.enmesh'),
  });
  const call = (serviceAccount: string): Promise<string> =>
    new Promise((done, fail) => {
      const options = { cwd: minimal, env: { ...env(), SERVICE_ACCOUNT: serviceAccount } };
      execFile(process.execPath, ['client.js'], options, (error, stdout) => (error === null ? done(stdout.trim()) : fail(error)));
    });

  beforeAll(async () => {
    port = await freePort();
    cpSync(join(minimal, 'mesh'), join(directory, 'mesh'), { recursive: true });
    const services = readFileSync(join(minimal, 'mesh', 'services.yaml'), 'utf8');
    writeFileSync(join(directory, 'mesh', 'services.yaml'), services.replace('http: 8080', `http: ${port}`));
  });
  afterEach(async () => {
    const ended = new Promise((done) => server?.on('close', done));
    server?.kill('SIGKILL');
    await ended;
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  it.each(['express.js', 'fastify.js'])(
    'run: %s answers whom its policy allows, refuses others, and resets plaintext',
    async (file) => {
      server = spawn(process.execPath, [file], { cwd: minimal, env: env(), stdio: 'ignore' });
      await expect.poll(() => isOpen(port)).toBe(true);
      expect(await call('client')).toBe('200 hello cluster.local/ns/demo/sa/client');
      expect(await call('other')).toBe('403 RBAC: access denied');
      const plain = await sendRaw({ port }, 'GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
      expect(plain).toMatchObject({ bytes: '', ended: 'ECONNRESET' });
    },
  );
});

interface Process {
  readonly place: { readonly port: number; readonly token: string };
  line(pattern: RegExp, options: object): Promise<string>;
}
interface Shop {
  readonly gateway: Process;
  readonly idp: Process;
  close(): Promise<void>;
}

describe('a denial', () => {
  it('looks at both ends as the README shows it', async () => {
    const module_ = new URL('../../examples/shop/platform/shop.mjs', import.meta.url).href;
    const { createShop } = (await import(module_)) as { createShop: (o: object) => Promise<Shop> };
    const ports = { GATEWAY_PORT: '0', PRODUCT_PORT: '0', STOCK_PORT: '0', IDP_PORT: '0' };
    const { gateway, idp, close } = await createShop({ ports, show: 'linked' });
    try {
      const token = await (await fetch(idp.place.token)).text();
      const request = `GET /products/draft-3 HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer ${token}\r\nConnection: close\r\n\r\n`;
      const { bytes, headers } = await sendRaw({ port: gateway.place.port }, request);
      const id = headers['x-enmesh-decision'] ?? '';
      const line = await gateway.line(new RegExp(id), { what: 'the line of the denial' });
      const lasting = bytes.replaceAll('\r\n', '\n').replace(/^(Date|Connection|Keep-Alive):.*\n/gm, '');
      const neutral = (text: string): string =>
        text
          .trim()
          .replace(/\b[0-9a-f]{16}\b/, 'ID')
          .replace(/^\S+Z /, 'TIME ');
      expect(neutral(lasting)).toBe(neutral(marked('denial: answer')));
      expect(neutral(line)).toBe(neutral(marked('denial: line')));
    } finally {
      await close();
    }
  });
});
