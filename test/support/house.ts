import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { connect as connectTcp, type AddressInfo, type Socket } from 'node:net';
import type { Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { createMesh, type Mesh, type X509Svid } from '@enmesh/core';
import { createTestAuthority, createTestIssuer } from '@enmesh/core/testing';

type Authority = Awaited<ReturnType<typeof createTestAuthority>>;
type Issuer = Awaited<ReturnType<typeof createTestIssuer>>;
type MeshOptions = NonNullable<Parameters<typeof createMesh>[0]>;

/** A mesh of one workload (shop/product, app=product) with everything a test needs around it. */
export interface House {
  readonly authority: Authority;
  readonly issuer: Issuer;
  readonly directory: string;
  readonly mesh: Mesh;
  /** An SVID of namespace shop. */
  svid(serviceAccount: string): Promise<X509Svid>;
  /** Replaces a policy file by rename, as editors and Kubernetes do, and waits until it is in force. */
  write(file: string, yaml: string): Promise<void>;
  close(): Promise<void>;
}

/** Builds a house; `policies` is one YAML text in which `ISSUER` and `JWKS` stand for the test issuer's. */
export async function createHouse(policies: string, options: MeshOptions = {}): Promise<House> {
  const directory = mkdtempSync(join(tmpdir(), 'enmesh-house-'));
  const config = join(directory, 'mesh');
  mkdirSync(config);
  const authority = await createTestAuthority();
  const issuer = await createTestIssuer();
  const fill = (yaml: string): string => yaml.replaceAll('ISSUER', issuer.issuer).replaceAll('JWKS', issuer.jwksText);
  writeFileSync(join(config, 'policies.yaml'), fill(policies));
  const identity = await authority.identity({ namespace: 'shop', serviceAccount: 'product' });
  const mesh = await createMesh({
    namespace: 'shop',
    serviceAccount: 'product',
    labels: { app: 'product' },
    config,
    identity,
    log: false,
    env: {},
    ...options,
  });
  await mesh.ready();
  return {
    authority,
    issuer,
    directory: config,
    mesh,
    svid: (serviceAccount) => authority.issue({ namespace: 'shop', serviceAccount }),
    async write(file, yaml) {
      writeFileSync(join(directory, 'next.yaml'), fill(yaml));
      renameSync(join(directory, 'next.yaml'), join(config, file));
      await mesh.reload();
    },
    async close() {
      await mesh.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** Opens a server on a free port of loopback. */
export function open(server: Server): Promise<number> {
  return new Promise((done, fail) => {
    server.once('error', fail);
    server.listen(0, '127.0.0.1', () => done((server.address() as AddressInfo).port));
  });
}

/** What came back: an answer, or how the connection ended without one. */
export interface Answer {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly body: string;
  /** Every byte that arrived, as text. */
  readonly bytes: string;
  /** `ECONNRESET`, or `end` when the connection closed without an error. */
  readonly ended: string;
}

/** How to call: with an SVID over mutual TLS, or in the clear without one. */
export interface CallOptions {
  readonly port: number;
  readonly as?: X509Svid | undefined;
  readonly roots?: readonly string[];
  readonly alpn?: readonly string[];
}

/** Opens a connection as a mesh client would, or in the clear. The server's own certificate is not what these tests are about. */
export function connect({ port, as, roots = [], alpn = ['istio-http/1.1', 'istio', 'http/1.1'] }: CallOptions): Socket {
  if (as === undefined) return connectTcp({ port, host: '127.0.0.1' });
  const key = as.privateKey.export({ type: 'pkcs8', format: 'pem' });
  return connectTls({
    port,
    host: '127.0.0.1',
    key,
    cert: as.chain,
    ca: [...roots],
    ...(alpn.length > 0 ? { ALPNProtocols: [...alpn] } : {}),
    checkServerIdentity: () => undefined,
  });
}

/** Sends raw bytes and reads until the connection ends; the bytes must ask for `Connection: close` when an answer is expected. */
export function sendRaw(options: CallOptions, bytes: string | readonly string[]): Promise<Answer> {
  return new Promise((done) => {
    const socket = connect(options);
    let received = '';
    let ended = 'end';
    socket.on('data', (chunk: Buffer) => (received += chunk.toString('latin1')));
    socket.on('error', (error: NodeJS.ErrnoException) => (ended = error.code ?? error.message));
    socket.on('close', () => done(parseAnswer(received, ended)));
    socket.setTimeout(40_000, () => socket.destroy(new Error('no answer within 40 s')));
    for (const part of typeof bytes === 'string' ? [bytes] : bytes) socket.write(part, 'latin1');
  });
}

/** Sends one request: method, target and header lines exactly as given, plus Host (unless given) and `Connection: close`. */
export function send(
  options: CallOptions,
  method: string,
  target: string,
  headers: readonly (readonly [string, string])[] = [],
  body = '',
): Promise<Answer> {
  const lines = [...headers];
  if (!lines.some(([name]) => name.toLowerCase() === 'host')) lines.unshift(['Host', 'product.shop']);
  if (!lines.some(([name]) => name.toLowerCase() === 'connection')) lines.push(['Connection', 'close']);
  if (body !== '') lines.push(['Content-Length', String(Buffer.byteLength(body))]);
  return sendRaw(
    options,
    `${method} ${target} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${body}`,
  );
}

function parseAnswer(bytes: string, ended: string): Answer {
  const at = bytes.indexOf('\r\n\r\n');
  const [first = '', ...lines] = (at < 0 ? bytes : bytes.slice(0, at)).split('\r\n');
  const headers: Record<string, string> = {};
  for (const line of lines) headers[line.slice(0, line.indexOf(':')).toLowerCase()] = line.slice(line.indexOf(':') + 1).trim();
  const rest = at < 0 ? '' : bytes.slice(at + 4);
  return {
    status: Number(/^HTTP\/1\.1 (\d{3})/.exec(first)?.[1] ?? 0),
    headers,
    body: headers['transfer-encoding'] === 'chunked' ? unchunk(rest) : rest,
    bytes,
    ended,
  };
}

function unchunk(text: string): string {
  let out = '';
  let rest = text;
  for (;;) {
    const at = rest.indexOf('\r\n');
    const size = Number.parseInt(rest.slice(0, at), 16);
    if (at < 0 || !(size > 0)) return out;
    out += rest.slice(at + 2, at + 2 + size);
    rest = rest.slice(at + 4 + size);
  }
}
