import { once } from 'node:events';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { describe, expect, it } from 'vitest';
import { createTestAuthority } from '../testing/authority.js';
import { parsePem } from '../x509/pem.js';
import { leafInSession } from './session-leaf.js';
import { heard } from '../../../../test/support/waiting.js';

/** What both ends of a handshake keep as their session when it has ended. */
async function sessions(version: 'TLSv1.2' | 'TLSv1.3'): Promise<{ atServer: Buffer; leaf: Buffer; other: Buffer }> {
  const authority = await createTestAuthority();
  const [stock, gateway] = [
    await authority.issue({ namespace: 'shop', serviceAccount: 'stock' }),
    await authority.issue({ namespace: 'shop', serviceAccount: 'gateway' }),
  ];
  const keyOf = ({ privateKey }: typeof stock): string => privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
  const roots = { ca: authority.rootPem, rejectUnauthorized: true, maxVersion: version };
  const server = createServer({ key: keyOf(stock), cert: stock.chain, requestCert: true, ...roots }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const accepted = heard<[TLSSocket]>(server, 'secureConnection');
  const client = connect({
    port,
    host: '127.0.0.1',
    key: keyOf(gateway),
    cert: gateway.chain,
    ...roots,
    checkServerIdentity: () => undefined,
  });
  const [socket] = await accepted;
  const atServer = socket.getSession() as Buffer;
  client.destroy();
  server.close();
  const der = ({ chain }: typeof stock): Buffer => parsePem(chain, 'CERTIFICATE')[0] as Buffer;
  return { atServer, leaf: der(gateway), other: der(stock) };
}

describe('leafInSession', () => {
  it.each(['TLSv1.2', 'TLSv1.3'] as const)("finds the client's certificate in the server's session of %s", async (version) => {
    const { atServer, leaf, other } = await sessions(version);
    expect(leafInSession(atServer)?.equals(leaf)).toBe(true);
    expect(leafInSession(atServer)?.equals(other)).toBe(false);
  });

  it('finds nothing where the bytes end early, and never reads behind their end', async () => {
    const { atServer } = await sessions('TLSv1.3');
    for (let length = 0; length < atServer.length; length++) {
      expect(leafInSession(Buffer.from(atServer.subarray(0, length)))).toBeUndefined();
    }
  });

  it.each([
    ['a session without a peer', '3006020101a10161'],
    ['another structure', 'a303020101'],
    ['an indefinite length', '3080a3030201010000'],
    ['an indefinite length inside', '3006a38002010100'],
    ['a length of more bytes than there are', '3084ffffffff'],
    ['an element longer than what holds it', '3004a3030201'],
  ])('finds nothing in %s', (_title, hex) => {
    expect(leafInSession(Buffer.from(hex, 'hex'))).toBeUndefined();
  });
});
