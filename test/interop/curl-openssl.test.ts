import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createChainAuthority, writeMaterial, type ChainAuthority, type MaterialFiles } from './support/authority.js';
import { peerAuthentication } from '../support/documents.js';
import { createParty, openEcho, type Party } from './support/party.js';
import { findProgram, type Program } from './support/programs.js';

/** What a port takes: a mode of PeerAuthentication, PERMISSIVE also with `permissiveAnyAlpn`. */
const takes = ['STRICT', 'PERMISSIVE', 'any ALPN', 'DISABLE'] as const;
type Take = (typeof takes)[number];
const certificates = ['none', 'mesh', 'foreign', 'expired', 'leaf without chain'] as const;
type Certificate = (typeof certificates)[number];
const versions = ['1.1', '1.2', '1.3'] as const;
type Version = (typeof versions)[number];

/** One client of the matrix: how it is called, and which ALPN it offers. */
interface Client {
  readonly title: string;
  readonly isIstio: boolean;
  readonly program: Program | undefined;
  call(port: number, version: Version, files: MaterialFiles | undefined): Promise<string>;
  readonly callPlain?: (port: number) => Promise<string>;
}

const host = 'product.shop.svc.cluster.local';
const caller = 'spiffe://cluster.local/ns/shop/sa/gateway';
const curl = findProgram('curl', '--version');
const openssl = findProgram('openssl', 'version');

/** Runs a program to its end; never fails, for an exit code is an answer. */
const run = (program: Program, args: readonly string[], input = ''): Promise<{ code: number; out: string }> =>
  new Promise((done) => {
    const child = execFile(program.path, args, { timeout: 60_000 }, (error, out) => {
      done({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : -1, out });
    });
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(input);
  });

/** `200` and the peer that the service saw, or `refused` with the program's exit code. */
const told = (code: number, out: string): string => (code === 0 && out !== '' ? `200 ${out}` : `refused (${code})`);

async function callCurl(port: number, scheme: 'http' | 'https', args: readonly string[]): Promise<string> {
  const to = ['--resolve', `${host}:${port}:127.0.0.1`, `${scheme}://${host}:${port}/`];
  const { code, out } = await run(curl!, ['-sS', '--fail', '--http1.1', '--noproxy', '*', ...args, ...to]);
  return told(code, out);
}

async function callOpenssl(port: number, alpn: string, version: Version, files: MaterialFiles | undefined): Promise<string> {
  const own = files === undefined ? [] : ['-cert', files.cert, '-cert_chain', files.cert, '-key', files.key];
  const tls = [`-tls${version.replace('.', '_')}`, '-cipher', 'DEFAULT@SECLEVEL=0', '-alpn', alpn];
  const checks = ['-CAfile', roots, '-verify_return_error', '-verify_hostname', host, '-servername', host];
  const request = `GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`;
  const { code, out } = await run(
    openssl!,
    ['s_client', '-connect', `127.0.0.1:${port}`, '-quiet', '-ign_eof', ...tls, ...checks, ...own],
    request,
  );
  const [head = '', body = ''] = out.split('\r\n\r\n');
  return head.startsWith('HTTP/1.1 200')
    ? told(0, body.split('\r\n').find((line) => line.includes(':') || line === 'stranger') ?? body)
    : told(code, '');
}

let roots = '';
const clients: Client[] = [
  {
    title: 'curl',
    isIstio: false,
    program: curl,
    call: (port, version, files) =>
      callCurl(port, 'https', [
        ...['--cacert', roots, `--tlsv${version}`, '--tls-max', version, '--ciphers', 'DEFAULT@SECLEVEL=0'],
        ...(files === undefined ? [] : ['--cert', files.cert, '--key', files.key]),
      ]),
    callPlain: (port) => callCurl(port, 'http', []),
  },
  {
    title: 'openssl s_client',
    isIstio: false,
    program: openssl,
    call: (port, version, files) => callOpenssl(port, 'http/1.1', version, files),
  },
  {
    title: 'openssl s_client with ALPN of Istio',
    isIstio: true,
    program: openssl,
    call: (port, version, files) => callOpenssl(port, 'istio-http/1.1,istio,http/1.1', version, files),
  },
];

/** What must come of it: a verified certificate of the mesh, with a version of the mesh, where the mode takes TLS of such a client. */
function expected(take: Take, version: Version, certificate: Certificate, isIstio: boolean): string {
  const isTaken = take === 'STRICT' || take === 'any ALPN' || (take === 'PERMISSIVE' && isIstio);
  return isTaken && version !== '1.1' && certificate === 'mesh' ? `200 ${caller}` : 'refused';
}

describe.each(clients.map((client) => [client.title, client] as const))('%s', (_title, client) => {
  let directory = '';
  const parties: Party[] = [];
  const ports = new Map<Take, number>();
  const files = new Map<Certificate, MaterialFiles | undefined>();

  beforeAll(async () => {
    if (client.program === undefined) return;
    directory = mkdtempSync(join(tmpdir(), 'enmesh-curl-'));
    const [authority, foreign] = [await createChainAuthority(), await createChainAuthority('foreign.example')];
    const hour = 3_600_000;
    const issue = (by: ChainAuthority, times = {}) => by.issue({ serviceAccount: 'gateway', ...times });
    const mesh = await issue(authority);
    const expired = await issue(authority, { notBefore: Date.now() - 2 * hour, notAfter: Date.now() - hour });
    const write = (name: Certificate, material: Parameters<typeof writeMaterial>[1]): void =>
      void files.set(name, writeMaterial(join(directory, name.replaceAll(' ', '-')), material, authority.rootPem));
    write('mesh', mesh);
    write('foreign', await issue(foreign));
    write('expired', expired);
    write('leaf without chain', { ...mesh, chain: mesh.leaf });
    files.set('none', undefined);
    roots = files.get('mesh')!.roots;
    for (const take of takes) {
      const party = await createParty({
        serviceAccount: 'product',
        identity: await authority.identity({ serviceAccount: 'product', dnsSans: [host] }),
        documents: peerAuthentication(take === 'any ALPN' ? 'PERMISSIVE' : take),
        permissiveAnyAlpn: take === 'any ALPN',
      });
      parties.push(party);
      ports.set(take, await openEcho(party));
    }
  });
  afterAll(async () => {
    for (const party of parties) await party.close();
    if (directory !== '') rmSync(directory, { recursive: true, force: true });
  });

  it.skipIf(client.program === undefined)(
    'is let in with a certificate of the mesh, as the mode says, and otherwise never',
    async () => {
      const rows: string[][] = [];
      const wrong: string[] = [];
      for (const version of versions) {
        for (const certificate of certificates) {
          const answers = await Promise.all(takes.map((take) => client.call(ports.get(take)!, version, files.get(certificate))));
          rows.push([`TLS ${version}`, certificate, ...answers]);
          for (const [i, take] of takes.entries()) {
            const want = expected(take, version, certificate, client.isIstio);
            const got = answers[i]!.replace(/^refused .*/, 'refused');
            if (got !== want) wrong.push(`${take}, TLS ${version}, ${certificate}: ${answers[i]} instead of ${want}`);
          }
        }
      }
      console.log(table(`${client.title} (${client.program!.version.slice(0, 30)})`, rows));
      expect(wrong).toEqual([]);
    },
  );

  const { callPlain } = client;
  if (callPlain === undefined) return;
  it.skipIf(client.program === undefined)(
    'gets plaintext answered wherever the port is not STRICT, and there a reset',
    async () => {
      const answers = await Promise.all(takes.map((take) => callPlain(ports.get(take)!)));
      expect(answers).toEqual(['refused (56)', '200 stranger', '200 stranger', '200 stranger']);
    },
  );
});

function table(title: string, rows: readonly (readonly string[])[]): string {
  const all = [['', 'certificate', ...takes], ...rows].map((row) => row.map((cell) => cell.replace(` ${caller}`, ' as gateway')));
  const widths = all[0]!.map((_, column) => Math.max(...all.map((row) => row[column]!.length)));
  return [title, ...all.map((row) => row.map((cell, column) => cell.padEnd(widths[column]!)).join('  '))].join('\n');
}
