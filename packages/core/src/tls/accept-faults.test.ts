import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { callPlain, callTls, startLab, type Lab } from '../../../../test/support/tls-lab.js';
import type { MeshIdentity } from '../identity/source.js';
import { stepEvents, type StepEvent } from '../telemetry/events.js';
import { createTestAuthority, type TestAuthority } from '../testing/authority.js';
import { createTlsServer } from './server.js';

let authority: TestAuthority;
let stock: MeshIdentity;
let lab: Lab;

beforeAll(async () => {
  authority = await createTestAuthority();
  stock = await authority.identity({ namespace: 'shop', serviceAccount: 'stock' });
});

afterEach(() => lab.close());

const broken = (): never => {
  throw new Error('secret-detail');
};

describe('a callback that throws', () => {
  const cases: readonly [title: string, server: Parameters<typeof startLab>[1], code: string][] = [
    ['accept', { server: { accept: broken } }, 'ENMESH_TLS_ACCEPT_FAULT'],
    ['the clock', { server: { clock: broken } }, 'ENMESH_TLS_ACCEPT_FAULT'],
  ];
  it.each(cases)('(%s) refuses the connection, tells no detail, and the server lives', async (_title, options, code) => {
    lab = await startLab(stock, options);
    for (let i = 0; i < 2; i++) expect((await callTls(lab.port, { identity: stock })).text).toBe('');
    expect(lab.refusals.map((refusal) => refusal.code)).toEqual([code, code]);
    expect(JSON.stringify(lab.refusals)).not.toContain('secret-detail');
    expect(lab.served).toEqual([]);
  });

  it('(an identity source) refuses the connection, and the server lives', async () => {
    lab = await startLab({ svid: { current: broken, watch: () => () => {} }, bundles: stock.bundles });
    for (let i = 0; i < 2; i++) expect((await callTls(lab.port, { identity: stock })).text).toBe('');
    expect(lab.refusals).toHaveLength(2);
  });

  it('(onRefused) changes nothing', async () => {
    const onRefused = vi.fn(broken);
    lab = await startLab(stock, { server: { onRefused } });
    expect(await callPlain(lab.port)).toEqual({ text: '', end: 'ECONNRESET' });
    expect((await callTls(lab.port, {})).text).toBe('');
    expect((await callTls(lab.port, { identity: stock })).text).toContain('served');
    expect(onRefused).toHaveBeenCalledTimes(2);
  });

  it('(settings that are no settings) refuses the connection', async () => {
    lab = await startLab(stock, { settings: { trustDomains: undefined as unknown as string[] } });
    expect((await callTls(lab.port, { identity: stock })).text).toBe('');
    expect(lab.served).toEqual([]);
  });
});

describe('step events', () => {
  it('are published once per connection, with the socket that requests carry', async () => {
    lab = await startLab(stock);
    const heard: StepEvent[] = [];
    const stops = [
      stepEvents.accept.subscribe((event) => heard.push(event)),
      stepEvents['peer-identity'].subscribe((event) => heard.push(event)),
    ];
    let socket: unknown;
    lab.server.once('request', (request) => (socket = request.socket));
    await callTls(lab.port, { identity: stock });
    await callPlain(lab.port);
    stops.forEach((stop) => stop());
    expect(heard.map(({ step, outcome, code }) => [step, outcome, code])).toEqual([
      ['accept', 'passed', undefined],
      ['peer-identity', 'passed', undefined],
      ['accept', 'refused', 'ENMESH_TLS_PLAINTEXT_REFUSED'],
    ]);
    expect(heard.slice(0, 2).map(({ subject }) => subject === socket)).toEqual([true, true]);
  });
});

describe('options', () => {
  it.each([
    'key',
    'cert',
    'ca',
    'requestCert',
    'rejectUnauthorized',
    'ALPNProtocols',
    'SNICallback',
    'pskCallback',
    'ticketKeys',
    'minVersion',
    'secureOptions',
    'insecureHTTPParser',
  ])('refuse http.%s, which belongs to the mesh', async (name) => {
    lab = await startLab(stock);
    expect(() => createTlsServer({ identity: stock, accept: () => lab.settings, http: { [name]: true } })).toThrow(
      new TypeError(`\`http.${name}\` belongs to the mesh and cannot be set on its server`),
    );
  });

  it('pass HTTP options on', async () => {
    lab = await startLab(stock);
    const server = createTlsServer({ identity: stock, accept: () => lab.settings, http: { keepAliveTimeout: 1234 } });
    expect(server.keepAliveTimeout).toBe(1234);
  });
});
