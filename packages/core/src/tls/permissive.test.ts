import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { callPlain, clientCertificate, readToEnd, startLab, type Lab, type Outcome } from '../../../../test/support/tls-lab.js';
import type { ErrorCode } from '../errors.js';
import type { MeshIdentity } from '../identity/source.js';
import { createTestAuthority } from '../testing/authority.js';
import type { TlsMode } from './mode.js';
import { startOf } from './permissive.js';
import { heard, until } from '../../../../test/support/waiting.js';

let stock: MeshIdentity;
let lab: Lab;

beforeAll(async () => {
  stock = await (await createTestAuthority()).identity({ namespace: 'shop', serviceAccount: 'stock' });
});

afterEach(() => lab?.close());

const latin = (text: string): Uint8Array => Buffer.from(text, 'latin1');
const proxyV2 = '\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c';
const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';

describe('startOf', () => {
  it.each([
    ['\x16', 'tls'],
    ['\x16\x03\x01', 'tls'],
    ['GET / HTTP/1.1', 'http'],
    ['P', undefined],
    ['PO', 'http'],
    ['PR', undefined],
    ['PROPFIND / HTTP/1.1', 'http'],
    ['PROXY', undefined],
    ['PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n', 'proxy-protocol'],
    ['PROXY UNKNOWN\r\n', 'proxy-protocol'],
    ['\r\n', undefined],
    ['\r\nGET / HTTP/1.1', 'http'],
    ['\r\n\r\n\0\r\nQUIT', undefined],
    [proxyV2, 'proxy-protocol'],
    ['PRI * HTTP/', undefined],
    [preface, 'http2'],
    ['PRI * HTTP/1.1\r\n', 'http'],
    ['proxy tcp4', 'http'],
    ['\0', 'http'],
    ['\x15\x03\x01', 'http'],
  ] as const)('takes %j for %s', (text, start) => {
    expect(startOf(latin(text))).toBe(start);
  });
});

const reset: Outcome = { text: '', end: 'ECONNRESET' };
const nothing: Outcome = { text: '', end: 'end' };
const parserSays400 = 'HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n';
const proxySays = /^HTTP\/1\.1 400 .*\r\n\r\nThe PROXY protocol is not served here$/s;
// SETTINGS, then GOAWAY with error 13, HTTP_1_1_REQUIRED.
const goAway = '\0\0\0\x04\0\0\0\0\0\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0d';
const none: ErrorCode[] = [];

interface Case {
  readonly title: string;
  readonly bytes: string;
  readonly sees: Readonly<Record<TlsMode, string | RegExp | Outcome>>;
  readonly codes: Readonly<Record<TlsMode, readonly ErrorCode[]>>;
  /** The client goes on, or ends its side at once. */
  readonly andEnd?: boolean;
}

const each = <T>(value: T): Readonly<Record<TlsMode, T>> => ({ STRICT: value, PERMISSIVE: value, DISABLE: value });
const cases: readonly Case[] = [
  {
    title: 'a request in the clear',
    bytes: 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
    sees: { STRICT: reset, PERMISSIVE: /200 OK.*served$/s, DISABLE: /200 OK.*served$/s },
    codes: { STRICT: ['ENMESH_TLS_PLAINTEXT_REFUSED'], PERMISSIVE: none, DISABLE: none },
  },
  {
    title: 'a request that begins with an empty line',
    bytes: '\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
    sees: { STRICT: reset, PERMISSIVE: /200 OK.*served$/s, DISABLE: /200 OK.*served$/s },
    codes: { STRICT: ['ENMESH_TLS_PLAINTEXT_REFUSED'], PERMISSIVE: none, DISABLE: none },
  },
  {
    title: 'the byte of TLS and then a request',
    bytes: '\x16GET / HTTP/1.1\r\nHost: a\r\n\r\n',
    sees: { STRICT: /^[^H]*$/, PERMISSIVE: /^[^H]*$/, DISABLE: parserSays400 },
    codes: each(['ENMESH_TLS_HANDSHAKE_FAILED']),
  },
  {
    title: 'a line of PROXY version 1',
    bytes: 'PROXY TCP4 10.0.0.1 10.0.0.2 4711 80\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n',
    sees: { STRICT: reset, PERMISSIVE: proxySays, DISABLE: proxySays },
    codes: each(['ENMESH_TLS_PROXY_PROTOCOL']),
  },
  {
    title: 'a header of PROXY version 2',
    bytes: `${proxyV2}${'\x01'.repeat(12)}GET / HTTP/1.1\r\nHost: a\r\n\r\n`,
    sees: { STRICT: reset, PERMISSIVE: proxySays, DISABLE: proxySays },
    codes: each(['ENMESH_TLS_PROXY_PROTOCOL']),
  },
  {
    title: 'the preface of HTTP/2',
    bytes: preface,
    sees: { STRICT: reset, PERMISSIVE: goAway, DISABLE: goAway },
    codes: each(['ENMESH_TLS_HTTP2_REFUSED']),
  },
  { title: 'nothing', bytes: '', sees: each(nothing), codes: each(['ENMESH_TLS_ACCEPT_TIMEOUT']) },
  {
    title: 'half a word that could become PROXY',
    bytes: 'PRO',
    sees: { STRICT: reset, PERMISSIVE: nothing, DISABLE: nothing },
    codes: {
      STRICT: ['ENMESH_TLS_PLAINTEXT_REFUSED'],
      PERMISSIVE: ['ENMESH_TLS_ACCEPT_TIMEOUT'],
      DISABLE: ['ENMESH_TLS_ACCEPT_TIMEOUT'],
    },
  },
  { title: 'its end at once', bytes: '', andEnd: true, sees: each(nothing), codes: each(none) },
];

const modes: readonly TlsMode[] = ['STRICT', 'PERMISSIVE', 'DISABLE'];

describe.each(modes)('a %s port', (mode) => {
  it.each(cases)('answers a client that sends $title', async ({ bytes, sees, codes, andEnd }) => {
    const isSlow = codes[mode].includes('ENMESH_TLS_ACCEPT_TIMEOUT');
    lab = await startLab(stock, { settings: { mode }, server: isSlow ? { sniffTimeoutMs: 100 } : {} });
    const socket = connect(lab.port, '127.0.0.1');
    const outcome = readToEnd(socket);
    if (bytes !== '') socket.write(bytes, 'latin1');
    if (andEnd === true) socket.end();
    const seen = await outcome;
    const wanted = sees[mode];
    if (typeof wanted === 'string' || wanted instanceof RegExp)
      expect(seen.text).toEqual(wanted instanceof RegExp ? expect.stringMatching(wanted) : wanted);
    else expect(seen).toEqual(wanted);
    await until(() => lab.refusals.length >= codes[mode].length);
    expect(lab.refusals.map(({ code }) => code)).toEqual(codes[mode]);
    expect(lab.served.length > 0).toBe(seen.text.includes('200 OK'));
  });

  it('is there for the next client after resets before, in and behind the first bytes', async () => {
    lab = await startLab(stock, { settings: { mode } });
    for (const bytes of ['', '\x16', '\x16\x03\x01', 'P', 'PROXY TCP4', '\r\n', preface]) {
      const socket = connect(lab.port, '127.0.0.1');
      await heard(socket, 'connect');
      if (bytes !== '') await new Promise((sent) => socket.write(bytes, 'latin1', sent));
      socket.resetAndDestroy();
    }
    if (mode === 'DISABLE') return void expect((await callPlain(lab.port)).text).toContain('served');
    const tls = { ...clientCertificate(stock), ALPNProtocols: ['istio', 'http/1.1'] };
    const alive = connectTls({ port: lab.port, host: '127.0.0.1', rejectUnauthorized: false, ...tls });
    await heard(alive, 'secureConnect');
    alive.destroy();
  });
});

it.each([
  ['PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n', 'ENMESH_TLS_PROXY_PROTOCOL'],
  [proxyV2, 'ENMESH_TLS_PROXY_PROTOCOL'],
  [preface, 'ENMESH_TLS_HTTP2_REFUSED'],
] as const)('%j is known for what it is when each byte comes alone', async (text, code) => {
  lab = await startLab(stock, { settings: { mode: 'PERMISSIVE' } });
  await callPlain(
    lab.port,
    [...text].map((byte) => Buffer.from(byte, 'latin1')),
  );
  expect(lab.refusals.map((refusal) => refusal.code)).toEqual([code]);
});
