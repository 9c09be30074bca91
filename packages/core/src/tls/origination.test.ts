import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import { createServer, type TLSSocket, type TlsOptions } from 'node:tls';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { isEnmeshError } from '../errors.js';
import { issueCertificate, rootOptions } from '../x509/certificate.js';
import { connectTls, type TlsConnectOptions } from './client.js';
import type { TlsDefaults } from './origination.js';

const validity = { notBefore: Date.now() - 60_000, notAfter: Date.now() + 3_600_000 };
const newKey = (): ReturnType<typeof generateKeyPairSync>['privateKey'] =>
  generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey;
const pemOf = (key: ReturnType<typeof newKey>): string => key.export({ type: 'pkcs8', format: 'pem' }) as string;

let ca: string;
let otherCa: string;
let server: { cert: string; key: string };
let client: { cert: string; key: string };
let nameless: { cert: string; key: string };
const open: { close(): void }[] = [];

async function certificate(
  rootKey: ReturnType<typeof newKey>,
  dnsSans: string[],
  uriSans: string[],
  subject: { commonName?: string } = {},
): Promise<{ cert: string; key: string }> {
  const key = newKey();
  const cert = await issueCertificate({
    ...{
      key,
      issuer: ca,
      issuerKey: rootKey,
      isCa: false,
      keyUsage: ['digitalSignature'],
      dnsSans,
      uriSans,
      subject,
      ...validity,
    },
  });
  return { cert, key: pemOf(key) };
}

beforeAll(async () => {
  const rootKey = newKey();
  const otherKey = newKey();
  ca = await issueCertificate({ ...rootOptions('partner.example', rootKey), ...validity });
  otherCa = await issueCertificate({ ...rootOptions('other.example', otherKey), ...validity });
  server = await certificate(rootKey, ['api.partner.example'], ['spiffe://partner.example/api']);
  client = await certificate(rootKey, ['client.partner.example'], []);
  nameless = await certificate(rootKey, [], ['spiffe://partner.example/api'], { commonName: 'api.partner.example' });
});

afterEach(() => open.splice(0).forEach((one) => one.close()));

async function listen(options: TlsOptions = {}): Promise<{ port: number; clients: string[] }> {
  const clients: string[] = [];
  const live: Socket[] = [];
  const tlsServer = createServer({ ...server, ...options }, (socket) => {
    live.push(socket.on('error', () => {}));
    clients.push(socket.getPeerCertificate().subjectaltname ?? '');
    socket.write('hello');
  });
  tlsServer.on('tlsClientError', () => {});
  tlsServer.listen(0, '127.0.0.1');
  await once(tlsServer, 'listening');
  open.push({ close: () => (live.forEach((socket) => socket.destroy()), tlsServer.close()) });
  return { port: (tlsServer.address() as AddressInfo).port, clients };
}

/** `connected`, or the code of the refusal. */
function attempt(o: TlsConnectOptions): Promise<string> {
  return new Promise((resolve) =>
    connectTls(o, (error, socket) => {
      if (socket === null) return resolve(isEnmeshError(error) ? error.code : String(error));
      socket.on('error', () => {});
      socket.once('data', () => {
        open.push({ close: () => void (socket as TLSSocket).destroy() });
        resolve('connected');
      });
    }),
  );
}

describe('connectTls', () => {
  const base = { host: '127.0.0.1', serverName: 'api.partner.example', subjectAltNames: [] };
  const cases: readonly [title: string, options: () => Partial<TlsConnectOptions>, outcome: string][] = [
    ['reaches a server whose DNS name is expected', () => ({ ca, subjectAltNames: ['api.partner.example'] }), 'connected'],
    ['reaches a server whose URI is expected', () => ({ ca, subjectAltNames: ['spiffe://partner.example/api'] }), 'connected'],
    ['reaches a server that is the host', () => ({ ca, verifyHost: 'api.partner.example' }), 'connected'],
    ['refuses another host', () => ({ ca, verifyHost: 'www.partner.example' }), 'ENMESH_TLS_SERVER_UNVERIFIED'],
    [
      'refuses a server with none of the names',
      () => ({ ca, subjectAltNames: ['www.partner.example'] }),
      'ENMESH_TLS_SECURE_NAMING',
    ],
    [
      'wants the host besides the names',
      () => ({ ca, subjectAltNames: ['api.partner.example'], verifyHost: 'x.example' }),
      'ENMESH_TLS_SERVER_UNVERIFIED',
    ],
    ['refuses another authority', () => ({ ca: otherCa, verifyHost: 'api.partner.example' }), 'ENMESH_TLS_SERVER_UNVERIFIED'],
    [
      'refuses a private authority by the public ones',
      () => ({ verifyHost: 'api.partner.example' }),
      'ENMESH_TLS_SERVER_UNVERIFIED',
    ],
    [
      'refuses an empty file of authorities',
      () => ({ ca: '', verifyHost: 'api.partner.example' }),
      'ENMESH_TLS_IDENTITY_UNUSABLE',
    ],
    ['refuses when nothing says whom to expect', () => ({ ca }), 'ENMESH_TLS_SECURE_NAMING'],
    [
      'refuses a key that cannot be read',
      () => ({ ca, cert: client.cert, key: 'no key', verifyHost: 'api.partner.example' }),
      'ENMESH_TLS_IDENTITY_UNUSABLE',
    ],
    ['reaches anyone when told to skip verification', () => ({ insecureSkipVerify: true }), 'connected'],
  ];
  it.each(cases)('%s', async (_title, options, outcome) => {
    const { port } = await listen();
    expect(await attempt({ ...base, port, ...options() })).toBe(outcome);
  });

  it('takes no common name for a host, as Envoy does not', async () => {
    const { port } = await listen(nameless);
    expect(await attempt({ ...base, port, ca, verifyHost: 'api.partner.example' })).toBe('ENMESH_TLS_SERVER_UNVERIFIED');
    expect(await attempt({ ...base, port, ca, subjectAltNames: ['spiffe://partner.example/api'] })).toBe('connected');
  });

  it('shows its client certificate in mode MUTUAL', async () => {
    const { port, clients } = await listen({ requestCert: true, rejectUnauthorized: true, ca });
    expect(await attempt({ ...base, port, ca, ...client, verifyHost: 'api.partner.example' })).toBe('connected');
    expect(clients).toEqual(['DNS:client.partner.example']);
  });

  const curves = (ecdhCurves: string[]): TlsDefaults => ({ cipherSuites: [], ecdhCurves });
  const suites = (cipherSuites: string[]): TlsDefaults => ({ cipherSuites, ecdhCurves: [] });
  const limits: readonly [title: string, server: TlsOptions, defaults: TlsDefaults, outcome: string][] = [
    ['agrees on a curve of the defaults', { ecdhCurve: 'P-384' }, curves(['P-256', 'P-384']), 'connected'],
    ['offers no curve beside the defaults', { ecdhCurve: 'P-384' }, curves(['P-256', 'X25519']), 'ENMESH_TLS_CONNECT_FAILED'],
    [
      'agrees on a suite of the defaults',
      { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256' },
      suites(['ECDHE-ECDSA-AES256-GCM-SHA384', 'ECDHE-ECDSA-AES128-GCM-SHA256']),
      'connected',
    ],
    [
      'offers no suite beside the defaults',
      { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256' },
      suites(['ECDHE-ECDSA-AES256-GCM-SHA384']),
      'ENMESH_TLS_CONNECT_FAILED',
    ],
  ];
  it.each(limits)('%s', async (_title, options, defaults, outcome) => {
    const { port } = await listen(options);
    expect(await attempt({ ...base, port, ca, verifyHost: 'api.partner.example', defaults })).toBe(outcome);
  });
});
