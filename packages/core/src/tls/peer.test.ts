import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { beforeAll, describe, expect, it } from 'vitest';
import { parsePem } from '../x509/pem.js';
import { createTestAuthority, type TestAuthority } from '../testing/authority.js';
import { connectionOf, readPeerIdentity, recordConnection, unmapped } from './peer.js';
import { closed, heard } from '../../../../test/support/waiting.js';

let authority: TestAuthority;
beforeAll(async () => void (authority = await createTestAuthority()));

describe('readPeerIdentity', () => {
  it('reads who the peer is from its leaf certificate', async () => {
    const svid = await authority.issue({ namespace: 'shop', serviceAccount: 'gateway' });
    const [leaf = Buffer.alloc(0)] = parsePem(svid.chain, 'CERTIFICATE');
    expect(readPeerIdentity(leaf)).toEqual({
      spiffeId: svid.id,
      uri: 'spiffe://cluster.local/ns/shop/sa/gateway',
      principal: 'cluster.local/ns/shop/sa/gateway',
      trustDomain: 'cluster.local',
      namespace: 'shop',
      serviceAccount: 'gateway',
      certificateSha256: createHash('sha256').update(leaf).digest('hex'),
      subject: '',
      dnsNames: [],
      notAfter: svid.notAfter - (svid.notAfter % 1000),
    });
  });

  it('throws for a certificate that is no SVID', async () => {
    const { chain } = await authority.issueBad('two-uris');
    const [leaf = Buffer.alloc(0)] = parsePem(chain, 'CERTIFICATE');
    expect(() => readPeerIdentity(leaf)).toThrow(expect.objectContaining({ code: 'ENMESH_X509_SVID_INVALID' }));
  });
});

describe('connectionOf', () => {
  it('knows addresses but no peer of a socket that another server accepted, and answers the same object again', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const client = connect(port, '127.0.0.1');
    const [socket] = await heard<[Socket]>(server, 'connection');
    const facts = connectionOf(socket);
    expect(facts).toEqual({
      ...{ tls: false, peer: undefined, sni: '', mode: undefined },
      ...{ sourceIp: '127.0.0.1', sourcePort: client.localPort, destinationIp: '127.0.0.1', destinationPort: port },
    });
    socket.destroy();
    await closed(socket);
    expect(connectionOf(socket)).toBe(facts);
    client.destroy();
    server.close();
  });

  it('never takes a peer from what a socket of another server says of itself', () => {
    const socket = Object.assign(new Duplex(), { encrypted: true, authorized: true, servername: 'Stock.Shop' });
    expect(connectionOf(socket)).toMatchObject({
      tls: true,
      peer: undefined,
      sni: 'stock.shop',
      sourceIp: '',
      destinationPort: 0,
    });
  });

  it('answers what was recorded at accept', () => {
    const socket = new Duplex();
    expect(connectionOf(socket)).not.toBe(recordConnection(socket, { peer: undefined, mode: 'DISABLE' }));
    expect(connectionOf(socket).mode).toBe('DISABLE');
  });
});

describe('unmapped', () => {
  it.each([
    ['::ffff:10.0.0.1', '10.0.0.1'],
    ['::FFFF:10.0.0.1', '10.0.0.1'],
    ['::1', '::1'],
    ['10.0.0.1', '10.0.0.1'],
    ['::ffff:a00:1', '::ffff:a00:1'],
    [undefined, ''],
  ])('writes %s as %s', (address, text) => expect(unmapped(address)).toBe(text));
});
