import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createTestAuthority, type TestAuthority } from '../testing/authority.js';
import { parsePem } from '../x509/pem.js';
import { readPeerIdentity } from './peer.js';
import { keepPeer, keptPeers, type PeerRecord } from './peer-records.js';

let authority: TestAuthority;
let leaf: Uint8Array;
const sockets: PassThrough[] = [];

beforeAll(async () => {
  authority = await createTestAuthority();
  const { chain } = await authority.issue({ namespace: 'shop', serviceAccount: 'gateway' });
  leaf = parsePem(chain, 'CERTIFICATE')[0] ?? Buffer.alloc(0);
});

afterEach(async () => {
  for (const socket of sockets.splice(0)) await close(socket);
});

async function close(socket: PassThrough): Promise<void> {
  if (socket.closed) return;
  const closed = once(socket, 'close');
  socket.destroy();
  await closed;
}

function keep(
  intermediates: readonly Uint8Array[] = [],
  bundles = authority.bundles,
): { record: PeerRecord; socket: PassThrough } {
  const socket = new PassThrough();
  sockets.push(socket);
  const peer = readPeerIdentity(leaf);
  const verified = { peer, certificates: { leaf, intermediates }, until: peer.notAfter, root: undefined };
  return { socket, record: keepPeer(socket, verified, bundles) };
}

describe('keepPeer', () => {
  it('gives connections with the same certificates one record, until the last of them closes', async () => {
    const before = keptPeers();
    const [first, second] = [keep(), keep()];
    expect(second.record).toBe(first.record);
    await close(first.socket);
    expect(keptPeers()).toBe(before + 1);
    await close(second.socket);
    expect(keptPeers()).toBe(before);
    expect(keep().record).not.toBe(first.record);
  });

  it('does not mix up chains of one leaf', () => {
    const first = keep([Buffer.from('a')]);
    expect(keep([Buffer.from('b')]).record).not.toBe(first.record);
    expect(keep([]).record).not.toBe(first.record);
    expect(keep([Buffer.from('a')]).record).toBe(first.record);
  });

  it('lets go of an earlier objection once a handshake has verified the peer again', () => {
    const { record } = keep();
    record.objection = { step: 'peer-identity', code: 'ENMESH_X509_UNTRUSTED', reason: 'its root had left' };
    const bundles = new Map(authority.bundles);
    keep([], bundles);
    expect([record.objection, record.judgedWith === bundles]).toEqual([undefined, true]);
    expect(record.vouchedBy).toBe(bundles.get('cluster.local'));
  });
});
