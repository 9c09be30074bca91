import { connect } from 'node:tls';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { callTls, clientCertificate, readToEnd, startLab, type Lab } from '../../../../test/support/tls-lab.js';
import { EnmeshError } from '../errors.js';
import type { MeshIdentity } from '../identity/source.js';
import type { X509Svid } from '../identity/svid.js';
import type { TrustBundleSet } from '../identity/trust-bundle.js';
import { createTestAuthority, type TestAuthority } from '../testing/authority.js';
import { heard } from '../../../../test/support/waiting.js';

let authority: TestAuthority;
let other: TestAuthority;
let gateway: MeshIdentity;
let lab: Lab;

beforeAll(async () => {
  authority = await createTestAuthority();
  other = await createTestAuthority();
  gateway = await authority.identity({ namespace: 'shop', serviceAccount: 'gateway' });
});

afterEach(() => lab.close());

/** An identity whose parts a test delivers or takes away. */
function heldIdentity(held: { svid?: X509Svid; bundles?: TrustBundleSet }): MeshIdentity {
  const none = (): never => {
    throw new EnmeshError('ENMESH_IDENTITY_NONE', 'no identity yet');
  };
  return {
    svid: { current: () => held.svid ?? none(), watch: () => () => {} },
    bundles: { current: () => held.bundles ?? none(), watch: () => () => {} },
  };
}

describe('a server whose identity changes', () => {
  it('refuses handshakes while it has none, and serves as soon as the source delivers', async () => {
    const held: { svid?: X509Svid; bundles?: TrustBundleSet } = {};
    lab = await startLab(heldIdentity(held));
    expect((await callTls(lab.port, { identity: gateway })).text).toBe('');
    expect(lab.refusals).toEqual([expect.objectContaining({ code: 'ENMESH_IDENTITY_NONE', reason: 'no identity yet' })]);
    held.svid = await authority.issue({ namespace: 'shop', serviceAccount: 'stock' });
    expect((await callTls(lab.port, { identity: gateway })).text).toBe('');
    held.bundles = authority.bundles;
    expect((await callTls(lab.port, { identity: gateway })).text).toContain('served');
  });

  it('shows its new SVID to the next client', async () => {
    const held = { svid: await authority.issue({ namespace: 'shop', serviceAccount: 'stock' }), bundles: authority.bundles };
    lab = await startLab(heldIdentity(held));
    const serial = async (): Promise<string> => {
      const socket = connect({ port: lab.port, host: '127.0.0.1', rejectUnauthorized: false, ...clientCertificate(gateway) });
      await heard(socket, 'secureConnect');
      const shown = socket.getPeerCertificate().serialNumber.toLowerCase();
      socket.destroy();
      return shown;
    };
    const before = await serial();
    held.svid = await authority.issue({ namespace: 'shop', serviceAccount: 'stock' });
    const after = await serial();
    expect(after).not.toBe(before);
    expect(BigInt(`0x${after}`)).toBe(BigInt(`0x${held.svid.serial}`));
  });

  it('refuses clients of an authority from the moment that it leaves the bundle', async () => {
    const held = { svid: await authority.issue({ namespace: 'shop', serviceAccount: 'stock' }), bundles: authority.bundles };
    lab = await startLab(heldIdentity(held));
    const first = await callTls(lab.port, { identity: gateway });
    held.bundles = other.bundles;
    const second = await callTls(lab.port, { identity: gateway });
    expect([first.text === '', second.text]).toEqual([false, '']);
    expect(lab.refusals).toEqual([expect.objectContaining({ code: 'ENMESH_TLS_CLIENT_UNVERIFIED' })]);
  });

  it('refuses with a code of its own when key and certificate do not belong together', async () => {
    const svid = await authority.issue({ namespace: 'shop', serviceAccount: 'stock' });
    lab = await startLab(
      heldIdentity({ svid: { ...svid, privateKey: gateway.svid.current().privateKey }, bundles: authority.bundles }),
    );
    expect((await callTls(lab.port, { identity: gateway })).text).toBe('');
    expect(lab.refusals).toEqual([expect.objectContaining({ code: 'ENMESH_TLS_IDENTITY_UNUSABLE' })]);
  });

  it('trusts nobody, not the public authorities, when its bundles are empty', async () => {
    lab = await startLab(heldIdentity({ svid: gateway.svid.current(), bundles: new Map() }));
    expect((await callTls(lab.port, { identity: gateway })).text).toBe('');
    expect(lab.refusals).toEqual([expect.objectContaining({ code: 'ENMESH_TLS_IDENTITY_UNUSABLE' })]);
  });

  it('keeps no private key on the server object', async () => {
    lab = await startLab(gateway);
    await callTls(lab.port, { identity: gateway });
    expect((lab.server as unknown as { key?: unknown }).key).toBeUndefined();
  });
});

describe('session resumption', () => {
  it.each(['TLSv1.2', 'TLSv1.3'] as const)(
    'never happens over %s: a client that offers a session gets a full handshake',
    async (version) => {
      lab = await startLab(gateway);
      const tls = { identity: gateway, minVersion: version, maxVersion: version };
      const sessions: Buffer[] = [];
      const first = connect({
        port: lab.port,
        host: '127.0.0.1',
        rejectUnauthorized: false,
        ...clientCertificate(gateway),
        minVersion: version,
        maxVersion: version,
      });
      first.on('session', (session: Buffer) => sessions.push(session));
      first.on('secureConnect', () => first.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'));
      await readToEnd(first);
      const session = sessions.at(-1) ?? first.getSession();
      const second = await callTls(lab.port, { ...tls, ...(session === undefined ? {} : { session }) });
      expect(second.text).toContain('served');
      expect(second.socket.isSessionReused()).not.toBe(true);
      expect(lab.served.map(({ peer }) => peer?.uri)).toEqual(Array(2).fill('spiffe://cluster.local/ns/shop/sa/gateway'));
    },
  );

  it('is refused even where something else in the process brings sessions back', async () => {
    lab = await startLab(gateway);
    const kept = new Map<string, Buffer>();
    lab.server.on('newSession', (id: Buffer, data: Buffer, done: () => void) => (kept.set(id.toString('hex'), data), done()));
    lab.server.on('resumeSession', (id: Buffer, done: (error: null, data: Buffer | null) => void) =>
      done(null, kept.get(id.toString('hex')) ?? null),
    );
    const tls = {
      port: lab.port,
      host: '127.0.0.1',
      rejectUnauthorized: false,
      ...clientCertificate(gateway),
      maxVersion: 'TLSv1.2' as const,
    };
    const first = connect(tls);
    await heard(first, 'secureConnect');
    const session = first.getSession();
    first.end('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
    await readToEnd(first);
    const second = await callTls(lab.port, {
      identity: gateway,
      maxVersion: 'TLSv1.2',
      ...(session === undefined ? {} : { session }),
    });
    expect(second.text).toBe('');
    expect(lab.refusals).toEqual([expect.objectContaining({ code: 'ENMESH_TLS_SESSION_RESUMED' })]);
  });
});

describe('renegotiation', () => {
  it('is refused: the peer of a connection stays who it was', async () => {
    lab = await startLab(gateway);
    const tls = {
      port: lab.port,
      host: '127.0.0.1',
      rejectUnauthorized: false,
      ...clientCertificate(gateway),
      maxVersion: 'TLSv1.2' as const,
    };
    const socket = connect(tls);
    await heard(socket, 'secureConnect');
    const outcome = await new Promise((resolve) => {
      socket.on('error', (error: Error & { code?: string }) => resolve(error.code));
      socket.renegotiate({}, (error) => resolve(error ?? 'renegotiated'));
    });
    expect(outcome).toBe('ERR_SSL_NO_RENEGOTIATION');
    socket.destroy();
  });
});
