import { connect, type TLSSocket } from 'node:tls';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { clientCertificate, startLab, type Lab } from '../../../../test/support/tls-lab.js';
import type { TrustBundleSet } from '../identity/trust-bundle.js';
import { createTestAuthority, type TestAuthority } from '../testing/authority.js';
import { connectionsOf } from './connections.js';
import { connectionOf } from './peer.js';
import type { Standing } from './standing.js';
import { heard, until } from '../../../../test/support/waiting.js';

const day = 86_400_000;
const workload = { namespace: 'shop', serviceAccount: 'gateway', notAfter: Date.now() + 500 * day };

let authority: TestAuthority;
let next: TestAuthority;
let lab: Lab;
let client: TLSSocket;

beforeAll(async () => {
  [authority, next] = [await createTestAuthority(), await createTestAuthority()];
});
afterEach(async () => {
  client.destroy();
  await lab.close();
});

/** The standing of a connection whose peer's certificate outlives its root, under a clock and bundles that a test changes. */
async function open(world: { now: number; bundles: TrustBundleSet }): Promise<{ standing: Standing; tell: () => void }> {
  let tell = (): void => {};
  const svid = await authority.issue({ ...workload, serviceAccount: 'stock' });
  const watch = (onChange: (bundles: TrustBundleSet) => void): (() => void) => {
    tell = () => onChange(world.bundles);
    return () => {};
  };
  const identity = { svid: { current: () => svid, watch: () => () => {} }, bundles: { current: () => world.bundles, watch } };
  lab = await startLab(identity, { server: { clock: () => world.now } });
  const certificate = clientCertificate(await authority.identity(workload));
  client = connect({ port: lab.port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['istio'], ...certificate });
  client.on('error', () => {});
  await heard(client, 'secureConnect');
  await until(() => connectionsOf(lab.server).size > 0);
  const [socket] = connectionsOf(lab.server);
  const standing = socket === undefined ? undefined : connectionOf(socket).standing;
  if (standing === undefined) throw new Error('the connection has no standing');
  return { standing, tell: () => tell() };
}

describe('the standing of a connection', () => {
  it('ends with the first certificate of the chain, not only with the peer’s own', async () => {
    const world = { now: Date.now(), bundles: authority.bundles };
    const { standing } = await open(world);
    expect(standing.objectionAt(Date.now())).toBeUndefined();
    expect(standing.objectionAt(Date.now() + 366 * day)).toMatchObject({
      code: 'ENMESH_X509_UNTRUSTED',
      reason: expect.stringContaining(
        'a certificate that signs that of spiffe://cluster.local/ns/shop/sa/gateway expired',
      ) as string,
    });
    expect(standing.objectionAt(Date.now() + 501 * day)).toMatchObject({ code: 'ENMESH_X509_OUT_OF_VALIDITY' });
    expect(standing.objectionAt(Number.NaN)).toMatchObject({ code: 'ENMESH_X509_OUT_OF_VALIDITY' });
  });

  it('outlives the leaving of a root that did not sign its peer, and not of the one that did', async () => {
    const both = [authority.rootPem, next.rootPem];
    const world = {
      now: Date.now(),
      bundles: new Map([['cluster.local', { trustDomain: 'cluster.local', roots: both }]]) as TrustBundleSet,
    };
    const { standing, tell } = await open(world);
    world.bundles = authority.bundles;
    tell();
    expect(standing.objection()).toBeUndefined();
    world.bundles = next.bundles;
    tell();
    expect(standing.objection()).toMatchObject({ code: 'ENMESH_X509_UNTRUSTED' });
  });
});
