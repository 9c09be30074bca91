import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { callPlain, callTls, startLab, type Lab, type TlsClient } from '../../../../test/support/tls-lab.js';
import type { MeshIdentity } from '../identity/source.js';
import { fixedTrustBundleSource } from '../identity/trust-bundle.js';
import { createTestAuthority, type TestAuthority } from '../testing/authority.js';
import type { TlsMode } from './mode.js';

const istio = ['istio-http/1.1', 'istio', 'http/1.1'];
const peerUri = 'spiffe://cluster.local/ns/shop/sa/gateway';

let authority: TestAuthority;
let foreign: TestAuthority;
let stock: MeshIdentity;
let gateway: MeshIdentity;
let lab: Lab;

beforeAll(async () => {
  authority = await createTestAuthority();
  foreign = await createTestAuthority({ trustDomain: 'foreign.example' });
  stock = await authority.identity({ namespace: 'shop', serviceAccount: 'stock' });
  gateway = await authority.identity({ namespace: 'shop', serviceAccount: 'gateway' });
});

afterEach(() => lab.close());

const codes = (): string[] => lab.refusals.map(({ code }) => code);

describe('a plaintext client', () => {
  it('is reset by STRICT without a byte and reaches no handler', async () => {
    lab = await startLab(stock);
    expect(await callPlain(lab.port)).toEqual({ text: '', end: 'ECONNRESET' });
    expect(lab.served).toEqual([]);
    expect(lab.refusals).toEqual([
      expect.objectContaining({ code: 'ENMESH_TLS_PLAINTEXT_REFUSED', step: 'accept', remoteAddress: '127.0.0.1' }),
    ]);
  });

  it.each<TlsMode>(['PERMISSIVE', 'DISABLE'])('is served without a peer by %s', async (mode) => {
    lab = await startLab(stock, { settings: { mode } });
    expect((await callPlain(lab.port)).text).toMatch(/^HTTP\/1.1 200 OK\r\n.*served/s);
    expect(lab.served).toEqual([expect.objectContaining({ tls: false, peer: undefined, mode, sni: '', sourceIp: '127.0.0.1' })]);
    expect(lab.refusals).toEqual([]);
  });
});

describe('a mesh client', () => {
  const served: readonly [TlsMode, string, TlsClient['ALPNProtocols'], boolean, string | false][] = [
    ['STRICT', "Istio's HTTP list", istio, false, 'http/1.1'],
    ['STRICT', 'the list of a sidecar for TCP', ['istio-peer-exchange', 'istio'], false, 'istio'],
    ['STRICT', 'http/1.1 only', ['http/1.1'], false, 'http/1.1'],
    ['STRICT', 'no ALPN', undefined, false, false],
    ['PERMISSIVE', "Istio's HTTP list", istio, false, 'http/1.1'],
    ['PERMISSIVE', 'no ALPN where any is permitted', undefined, true, false],
    ['PERMISSIVE', 'http/1.1 where any is permitted', ['http/1.1'], true, 'http/1.1'],
  ];
  it.each(served)('is served by %s with %s', async (mode, _title, ALPNProtocols, permissiveAnyAlpn, answered) => {
    lab = await startLab(stock, { settings: { mode, permissiveAnyAlpn } });
    const outcome = await callTls(lab.port, { identity: gateway, ALPNProtocols, servername: 'Stock.Shop' });
    expect(outcome.text).toContain('served');
    expect(outcome.socket.alpnProtocol).toBe(answered);
    expect(lab.served).toEqual([
      expect.objectContaining({ tls: true, mode, sni: 'stock.shop', peer: expect.objectContaining({ uri: peerUri }) as unknown }),
    ]);
    expect(lab.refusals).toEqual([]);
  });

  const refused: readonly [TlsMode, string, TlsClient['ALPNProtocols'], boolean][] = [
    ['PERMISSIVE', 'no ALPN', undefined, false],
    ['PERMISSIVE', 'http/1.1 only', ['http/1.1'], false],
    ['PERMISSIVE', 'h2 names only, one of them of Istio', ['istio-h2', 'h2'], false],
    ['PERMISSIVE', 'h2 only where any is permitted', ['h2'], true],
    ['STRICT', 'h2 only', ['h2'], false],
    ['STRICT', 'a foreign name only', ['smtp'], false],
  ];
  it.each(refused)('is refused by %s with %s, before any request', async (mode, _title, ALPNProtocols, permissiveAnyAlpn) => {
    lab = await startLab(stock, { settings: { mode, permissiveAnyAlpn } });
    expect((await callTls(lab.port, { identity: gateway, ALPNProtocols })).text).toBe('');
    expect(lab.served).toEqual([]);
    expect(codes()).toEqual(['ENMESH_TLS_ALPN_REFUSED']);
  });

  it('is told apart by its list again as soon as the port is PERMISSIVE, and no more when it is STRICT', async () => {
    lab = await startLab(stock);
    const call = (): Promise<{ text: string }> => callTls(lab.port, { identity: gateway, ALPNProtocols: ['http/1.1'] });
    const texts: string[] = [];
    for (const mode of ['STRICT', 'PERMISSIVE', 'STRICT'] as const) {
      lab.settings = { ...lab.settings, mode };
      texts.push((await call()).text);
    }
    expect(texts.map((text) => text.includes('served'))).toEqual([true, false, true]);
    expect(codes()).toEqual(['ENMESH_TLS_ALPN_REFUSED']);
  });

  it('fails its handshake with DISABLE, which gives its bytes to the HTTP parser', async () => {
    lab = await startLab(stock, { settings: { mode: 'DISABLE' } });
    const outcome = await callTls(lab.port, { identity: gateway, ALPNProtocols: istio });
    expect([outcome.text, outcome.end === 'end']).toEqual(['', false]);
    expect(lab.served).toEqual([]);
  });

  it.each(['TLSv1.2', 'TLSv1.3'] as const)('is served over %s', async (version) => {
    lab = await startLab(stock);
    const outcome = await callTls(lab.port, { identity: gateway, minVersion: version, maxVersion: version });
    expect(outcome.text).toContain('served');
  });

  it.each([
    ['TLS 1.1', { minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT:@SECLEVEL=0' }],
    ["a cipher outside Istio's list", { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-CHACHA20-POLY1305' }],
  ] as const)('is refused with %s', async (_title, options) => {
    lab = await startLab(stock);
    expect((await callTls(lab.port, { identity: gateway, ...options })).text).toBe('');
    expect(lab.served).toEqual([]);
    expect(codes()).toEqual(['ENMESH_TLS_HANDSHAKE_FAILED']);
  });

  it('is refused over TLS 1.2 once the mesh asks for 1.3, and served again when it no longer does', async () => {
    lab = await startLab(stock);
    const call = async (): Promise<boolean> =>
      (await callTls(lab.port, { identity: gateway, maxVersion: 'TLSv1.2' })).text !== '';
    const first = await call();
    lab.settings = { ...lab.settings, minVersion: 'TLSv1.3' };
    const second = await call();
    lab.settings = { ...lab.settings, minVersion: 'TLSv1.2' };
    expect([first, second, await call()]).toEqual([true, false, true]);
  });
});

describe('a TLS client that is not of the mesh', () => {
  const clients: readonly [title: string, code: string, make: () => Promise<MeshIdentity | undefined>][] = [
    ['without a certificate', 'ENMESH_TLS_CLIENT_UNVERIFIED', async () => undefined],
    ['of a foreign authority', 'ENMESH_TLS_CLIENT_UNVERIFIED', () => authority.badIdentity('unknown-root')],
    [
      'of a foreign authority and trust domain',
      'ENMESH_TLS_CLIENT_UNVERIFIED',
      () => authority.badIdentity('foreign-trust-domain'),
    ],
    ['that signed its own certificate', 'ENMESH_TLS_CLIENT_UNVERIFIED', () => authority.badIdentity('self-signed')],
    ['whose certificate has expired', 'ENMESH_TLS_CLIENT_UNVERIFIED', () => authority.badIdentity('expired')],
    ['whose certificate is not valid yet', 'ENMESH_TLS_CLIENT_UNVERIFIED', () => authority.badIdentity('not-yet-valid')],
    [
      'of a trust domain without a bundle, signed by ours',
      'ENMESH_X509_UNTRUSTED',
      () => authority.badIdentity('stolen-trust-domain'),
    ],
    ['with two URI SANs', 'ENMESH_X509_SVID_INVALID', () => authority.badIdentity('two-uris')],
    ['with a DNS name only', 'ENMESH_X509_SVID_INVALID', () => authority.badIdentity('dns-only')],
    ['with the certificate of an authority', 'ENMESH_X509_SVID_INVALID', () => authority.badIdentity('key-cert-sign')],
    ['with a malformed SPIFFE ID', 'ENMESH_X509_SVID_INVALID', () => authority.badIdentity('malformed-id')],
  ];
  const modes: readonly TlsMode[] = ['STRICT', 'PERMISSIVE'];
  const cases = modes.flatMap((mode) => clients.map((client) => [mode, ...client] as const));
  it.each(cases)('is cut by %s %s', async (mode, _title, code, make) => {
    lab = await startLab(stock, { settings: { mode, permissiveAnyAlpn: true } });
    expect((await callTls(lab.port, { identity: await make(), ALPNProtocols: istio })).text).toBe('');
    expect(lab.served).toEqual([]);
    expect(codes()).toEqual([code]);
  });

  it('is cut over TLS 1.2 too', async () => {
    lab = await startLab(stock);
    for (const identity of [undefined, await authority.badIdentity('unknown-root'), await authority.badIdentity('two-uris')]) {
      expect((await callTls(lab.port, { identity, maxVersion: 'TLSv1.2' })).text).toBe('');
    }
    expect(lab.served).toEqual([]);
    expect(codes()).toEqual(['ENMESH_TLS_CLIENT_UNVERIFIED', 'ENMESH_TLS_CLIENT_UNVERIFIED', 'ENMESH_X509_SVID_INVALID']);
  });
});

describe('several trust domains', () => {
  const federated = (): MeshIdentity => ({
    svid: stock.svid,
    bundles: fixedTrustBundleSource(new Map([...authority.bundles, ...foreign.bundles])),
  });

  it('admit a peer of a trust domain that the mesh admits and has a bundle of', async () => {
    lab = await startLab(federated(), { settings: { trustDomains: ['cluster.local', 'foreign.example'] } });
    const identity = await foreign.identity({ namespace: 'shop', serviceAccount: 'gateway' });
    expect((await callTls(lab.port, { identity })).text).toContain('served');
    expect(lab.served[0]?.peer?.trustDomain).toBe('foreign.example');
  });

  it('cut a peer whose trust domain is verified but not admitted, and say who it was', async () => {
    lab = await startLab(federated());
    const identity = await foreign.identity({ namespace: 'shop', serviceAccount: 'gateway' });
    expect((await callTls(lab.port, { identity })).text).toBe('');
    expect(lab.served).toEqual([]);
    expect(lab.refusals).toEqual([
      expect.objectContaining({
        code: 'ENMESH_TLS_TRUST_DOMAIN_REFUSED',
        step: 'peer-identity',
        peer: 'spiffe://foreign.example/ns/shop/sa/gateway',
      }),
    ]);
  });

  it("do not let one domain's authority name a workload of another", async () => {
    lab = await startLab(federated(), { settings: { trustDomains: ['cluster.local', 'foreign.example'] } });
    const identity = await authority.badIdentity('stolen-trust-domain');
    expect((await callTls(lab.port, { identity })).text).toBe('');
    expect(lab.served).toEqual([]);
    expect(codes()).toEqual(['ENMESH_X509_UNTRUSTED']);
  });
});
