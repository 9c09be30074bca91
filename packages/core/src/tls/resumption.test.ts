import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { callTls, clientCertificate, readToEnd, startLab, type Lab } from '../../../../test/support/tls-lab.js';
import { isEnmeshError } from '../errors.js';
import type { MeshIdentity } from '../identity/source.js';
import { createTestAuthority, type TestAuthority } from '../testing/authority.js';
import { connectMesh } from './client.js';
import { closed } from '../../../../test/support/waiting.js';

let authority: TestAuthority;
let stock: MeshIdentity;
let gateway: MeshIdentity;
let lab: Lab;
let directory: string;

beforeAll(async () => {
  authority = await createTestAuthority();
  stock = await authority.identity({ namespace: 'shop', serviceAccount: 'stock' });
  gateway = await authority.identity({ namespace: 'shop', serviceAccount: 'gateway' });
  lab = await startLab(stock);
  directory = mkdtempSync(join(tmpdir(), 'enmesh-resumption-'));
  const { cert = '', key = '' } = clientCertificate(gateway);
  writeFileSync(join(directory, 'client.pem'), cert + key);
  writeFileSync(join(directory, 'root.pem'), authority.rootPem);
});

afterAll(async () => {
  await lab.close();
  rmSync(directory, { recursive: true, force: true });
});

function hasOpenssl(): boolean {
  try {
    return execFileSync('openssl', ['version']).length > 0;
  } catch {
    console.log('skip: openssl is not on PATH');
    return false;
  }
}

/** What `openssl s_client` prints about a session; it asks for `/` and reads to the end. */
async function sClient(...options: string[]): Promise<string> {
  const child = spawn(
    'openssl',
    ['s_client', '-connect', `127.0.0.1:${lab.port}`, '-cert', 'client.pem', '-CAfile', 'root.pem', ...options],
    { cwd: directory, stdio: ['pipe', 'pipe', 'pipe'] },
  );
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (said += chunk.toString('latin1')));
  child.stdin.on('error', () => {});
  child.stdin.write('GET / HTTP/1.1\r\nHost: stock\r\nConnection: close\r\n\r\n');
  await once(child, 'close');
  return said;
}

describe.runIf(hasOpenssl())('openssl s_client', () => {
  it('reconnects five times over TLS 1.2 and shakes hands anew each time', async () => {
    const said = await sClient('-tls1_2', '-reconnect');
    expect(said.match(/^New, TLSv1\.2/gm)?.length).toBe(6);
    expect(said).not.toMatch(/^Reused/m);
  });

  // OpenSSL sends what it calls tickets over TLS 1.3 all the same: names of sessions that nothing keeps.
  it.each(['-tls1_2', '-tls1_3'])('resumes no session that it kept, with %s', async (version) => {
    const first = await sClient(version, '-sess_out', 'session.pem');
    expect(first).toContain('served');
    const again = await sClient(version, '-sess_in', 'session.pem');
    expect(again).toMatch(/^New, TLSv1/m);
    expect(again).not.toMatch(/^Reused/m);
    expect(again).toContain('served');
    expect(lab.refusals).toEqual([]);
  });
});

describe('a session that something else in the process makes resumable', () => {
  it.each(['TLSv1.2', 'TLSv1.3'] as const)('is refused over %s, however well it verifies', async (version) => {
    const own = await startLab(stock);
    await callTls(own.port, { identity: gateway });
    // Tickets on, behind the back of the keeper of the context.
    own.server.setSecureContext({ ...clientCertificate(stock), ca: authority.rootPem });
    const versions = { minVersion: version, maxVersion: version };
    const first = connect({
      ...{ port: own.port, host: '127.0.0.1', rejectUnauthorized: false },
      ...clientCertificate(gateway),
      ...versions,
    });
    const sessions: Buffer[] = [];
    first.on('session', (session: Buffer) => sessions.push(session));
    first.on('secureConnect', () => first.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'));
    expect((await readToEnd(first)).text).toContain('served');
    const session = sessions.at(-1) ?? first.getSession();
    const second = await callTls(own.port, { identity: gateway, ...versions, ...(session && { session }) });
    expect(second.text).toBe('');
    expect(own.refusals.map(({ code }) => code)).toEqual(['ENMESH_TLS_SESSION_RESUMED']);
    await own.close();
  });
});

/** A server of the mesh by its certificate that gives tickets which stay good, as one would that wants to be resumed. */
async function ticketServer(version: 'TLSv1.2' | 'TLSv1.3'): Promise<{ port: number; resumed: boolean[]; close: () => void }> {
  const resumed: boolean[] = [];
  const server = createServer(
    {
      ...clientCertificate(stock),
      ...{ ca: authority.rootPem, requestCert: true, ALPNProtocols: ['istio'], minVersion: version, maxVersion: version },
    },
    (socket: TLSSocket) => {
      resumed.push(socket.isSessionReused());
      socket.on('error', () => {});
      socket.end('hello');
    },
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { port: (server.address() as { port: number }).port, resumed, close: () => server.close() };
}

describe('our client', () => {
  it.each(['TLSv1.2', 'TLSv1.3'] as const)('resumes nothing with a server that gives tickets over %s', async (version) => {
    const server = await ticketServer(version);
    for (let i = 0; i < 3; i++) {
      const socket = await new Promise<TLSSocket>((done, fail) =>
        connectMesh(
          {
            ...{ host: '127.0.0.1', port: server.port, serverName: 'stock', service: 'stock', identity: gateway },
            expected: ['spiffe://cluster.local/ns/shop/sa/stock'],
          },
          (error, opened) => (opened === null ? fail(error ?? new Error('no socket')) : done(opened)),
        ),
      );
      expect(socket.isSessionReused()).toBe(false);
      await closed(socket);
    }
    expect(server.resumed).toEqual([false, false, false]);
    server.close();
  });
});

describe('an SVID that has ended while its source still gives it', () => {
  const ended = async (): Promise<MeshIdentity> => authority.identity({ namespace: 'shop', serviceAccount: 'stock' });

  it('is shown by no server, though a context was made of it before', async () => {
    let now = Date.now();
    const own = await startLab(await ended(), { server: { clock: () => now } });
    expect((await callTls(own.port, { identity: gateway })).text).toContain('served');
    now += 2 * 3_600_000;
    const { socket, text } = await callTls(own.port, { identity: gateway });
    expect([text, socket.getPeerX509Certificate()]).toEqual(['', undefined]);
    expect(own.refusals.map(({ code }) => code)).toEqual(['ENMESH_IDENTITY_NONE']);
    await own.close();
  });

  it('is shown by no client either', async () => {
    const code = await new Promise((done) =>
      connectMesh(
        {
          ...{ host: '127.0.0.1', port: lab.port, serverName: '', service: 'stock', identity: gateway },
          expected: ['spiffe://cluster.local/ns/shop/sa/stock'],
          clock: () => Date.now() + 2 * 3_600_000,
        },
        (error) => done(isEnmeshError(error) ? error.code : error),
      ),
    );
    expect(code).toBe('ENMESH_IDENTITY_NONE');
  });
});
