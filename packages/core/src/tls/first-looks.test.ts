import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  callPlain,
  callTls,
  clientCertificate,
  readToEnd,
  startLab,
  type Lab,
  type Outcome,
} from '../../../../test/support/tls-lab.js';
import { heard, until } from '../../../../test/support/waiting.js';
import type { ErrorCode } from '../errors.js';
import type { MeshIdentity } from '../identity/source.js';
import { createTestAuthority } from '../testing/authority.js';
import { createFirstLooks } from './first-looks.js';

describe('createFirstLooks', () => {
  it('has a connection looked at until sixteen in a row were taken, and again after a refusal', () => {
    const looks = createFirstLooks();
    const take = (times: number): void => {
      for (let i = 0; i < times; i++) looks.noteTaken();
    };
    take(15);
    expect(looks.isNextLookedAt()).toBe(true);
    take(5);
    expect(looks.isNextLookedAt()).toBe(false);
    looks.noteRefused();
    take(15);
    expect(looks.isNextLookedAt()).toBe(true);
    take(1);
    expect(looks.isNextLookedAt()).toBe(false);
  });
});

let stock: MeshIdentity;
let lab: Lab;

beforeAll(async () => {
  stock = await (await createTestAuthority()).identity({ namespace: 'shop', serviceAccount: 'stock' });
});

afterEach(() => lab?.close());

/** Starts a STRICT port that has taken so many connections that it looks at none of their first bytes any more. */
async function startTrusting(server: NonNullable<Parameters<typeof startLab>[1]>['server'] = {}): Promise<void> {
  lab = await startLab(stock, { server });
  // A slow machine may miss a short deadline of the test meanwhile, and then sixteen more are needed.
  for (let taken = 0; taken < 16;) taken = (await callTls(lab.port, { identity: stock })).text.includes('served') ? taken + 1 : 0;
  lab.served.length = lab.refusals.length = 0;
}

const get = 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n';
const proxyLine = `PROXY TCP4 10.0.0.1 10.0.0.2 4711 80\r\n${get}`;
const reset: Outcome = { text: '', end: 'ECONNRESET' };
const nothing: Outcome = { text: '', end: 'end' };

describe('a STRICT port that begins TLS without a look', () => {
  it.each<[title: string, bytes: string]>([
    ['a request', get],
    ['a request of another method', `DELETE${get.slice(3)}`],
    ['a CONNECT', 'CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n'],
    ['a request that begins with an empty line', `\r\n${get}`],
    ['a line of PROXY version 1', proxyLine],
    ['a header of PROXY version 2', `\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c${'\x01'.repeat(12)}${get}`],
    ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['zeros', '\0'.repeat(20)],
  ])('resets %s without a byte', async (_title, bytes) => {
    await startTrusting();
    expect(await callPlain(lab.port, [Buffer.from(bytes, 'latin1')])).toEqual(reset);
    await until(() => lab.refusals.length > 0);
    expect(lab.refusals).toEqual([
      expect.objectContaining({ code: 'ENMESH_TLS_PLAINTEXT_REFUSED', step: 'accept', remoteAddress: '127.0.0.1' }),
    ]);
    expect(lab.served).toEqual([]);
  });

  it('calls a proxy by its name from the second connection on', async () => {
    await startTrusting();
    for (let i = 0; i < 2; i++) expect(await callPlain(lab.port, [proxyLine])).toEqual(reset);
    await until(() => lab.refusals.length > 1);
    const codes: ErrorCode[] = ['ENMESH_TLS_PLAINTEXT_REFUSED', 'ENMESH_TLS_PROXY_PROTOCOL'];
    expect(lab.refusals.map(({ code }) => code)).toEqual(codes);
  });

  it.each<[title: string, bytes: string]>([
    ['nothing', ''],
    ['less than a record of TLS', 'PRO'],
    ['the beginning of a record', '\x16\x03\x01'],
  ])('closes a connection at its deadline that sends %s', async (_title, bytes) => {
    await startTrusting({ sniffTimeoutMs: bytes === '' ? 500 : 100_000, handshakeTimeoutMs: bytes === '' ? 100_000 : 1000 });
    expect(await callPlain(lab.port, bytes === '' ? [] : [Buffer.from(bytes, 'latin1')])).toEqual(nothing);
    const code: ErrorCode = 'ENMESH_TLS_ACCEPT_TIMEOUT';
    const reason = bytes === '' ? 'the client sent nothing' : 'the handshake took too long';
    expect(lab.refusals).toEqual([expect.objectContaining({ code, reason })]);
  });

  it('tells nobody of a client that ends or resets its connection without a byte, and takes the next', async () => {
    await startTrusting();
    const ended = connect(lab.port, '127.0.0.1');
    const outcome = readToEnd(ended);
    ended.end();
    expect(await outcome).toEqual(nothing);
    const cut = connect(lab.port, '127.0.0.1');
    await heard(cut, 'connect');
    cut.resetAndDestroy();
    expect((await callTls(lab.port, { identity: stock })).text).toContain('served');
    expect(lab.refusals).toEqual([]);
  });

  it('asks for a verified certificate all the same', async () => {
    await startTrusting();
    const other = await createTestAuthority();
    const foreign = await other.identity({ namespace: 'shop', serviceAccount: 'stock' });
    for (const identity of [undefined, foreign]) expect((await callTls(lab.port, { identity })).text).not.toContain('served');
    await until(() => lab.refusals.length > 1);
    const code: ErrorCode = 'ENMESH_TLS_CLIENT_UNVERIFIED';
    expect(lab.refusals.map((refusal) => refusal.code)).toEqual([code, code]);
  });

  it.each(['PERMISSIVE', 'DISABLE'] as const)('serves plaintext again once the port is %s', async (mode) => {
    await startTrusting();
    lab.settings = { ...lab.settings, mode };
    expect((await callPlain(lab.port, [get])).text).toContain('served');
    expect(lab.refusals).toEqual([]);
  });

  it('refuses the connections for which it cannot be told what the port takes', async () => {
    let isBroken = false;
    await startTrusting({
      accept: () => {
        if (isBroken) throw new Error('no configuration');
        return lab.settings;
      },
    });
    isBroken = true;
    expect((await callTls(lab.port, { identity: stock })).text).toBe('');
    await until(() => lab.refusals.length > 0);
    expect(lab.refusals).toEqual([expect.objectContaining({ code: 'ENMESH_TLS_ACCEPT_FAULT' })]);
  });

  it('judges a connection by what holds at its request, when that has changed since it was accepted', async () => {
    let tellChange = (): void => {};
    await startTrusting({
      watchAccept: (onChange) => {
        tellChange = onChange;
        return () => {};
      },
    });
    const accepted = heard(lab.server, 'connection');
    const silent = connect(lab.port, '127.0.0.1');
    await accepted;
    lab.settings = { ...lab.settings, trustDomains: ['elsewhere.example'] };
    tellChange();
    // What the server takes is looked at, not its certificate.
    const socket = connectTls({ socket: silent, rejectUnauthorized: false, ...clientCertificate(stock) });
    const outcome = readToEnd(socket);
    socket.once('secureConnect', () => socket.write(get));
    await outcome;
    const code: ErrorCode = 'ENMESH_TLS_TRUST_DOMAIN_REFUSED';
    expect(lab.served.map(({ standing }) => standing?.objection())).toEqual([expect.objectContaining({ code })]);
  });
});
