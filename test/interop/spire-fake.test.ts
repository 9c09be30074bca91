import { generateKeyPairSync } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { createMesh, type X509Svid } from '@enmesh/core';
import { issueCertificate, parseX509Svid, rootOptions, svidOptions } from '@enmesh/core/x509';
import { createTestAuthority } from '@enmesh/core/testing';
import { writeCrl } from '../support/crl.js';
import { connect, open, send } from '../support/house.js';
import { createFakeWorkloadApi, derOf } from '../support/workload-api.js';
import { describeWorkloadWorld, peerOf } from './spire-scenarios.js';
import { heard } from '../support/waiting.js';

// What SPIRE was measured to do, where SPIRE itself is not there: the same scenarios, in seconds.
describeWorkloadWorld('two services of an agent that behaves as SPIRE’s', async () => {
  const agent = await createFakeWorkloadApi();
  const foreign = await createTestAuthority({ trustDomain: 'other.test' });
  const ttlMs = 8000;
  const registrations = [
    { namespace: 'shop', serviceAccount: 'web', ttlMs },
    { namespace: 'shop', serviceAccount: 'second', hint: 'second', ttlMs },
  ] as const;
  const web = await agent.register(registrations[0]);
  const second = await agent.register(registrations[1]);
  agent.federate('other.test', foreign);
  return {
    socket: agent.uri,
    trustDomain: 'td.test',
    ids: [web, second],
    federated: 'other.test',
    roots: agent.authority.rootPem,
    renewalMs: ttlMs,
    foreignSvid: () => foreign.issue({ namespace: 'shop', serviceAccount: 'partner' }),
    async restartAgent() {
      agent.kill();
      await new Promise((done) => setTimeout(done, 300));
      await agent.start();
    },
    removeSecond: async () => agent.remove(second),
    restoreSecond: async () => void (await agent.register(registrations[1])),
    stop: () => agent.stop(),
  };
});

it('refuses a peer that its trust domain revokes, also on a connection that is open', async () => {
  const key = generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey;
  const times = { notBefore: Date.now() - 60_000, notAfter: Date.now() + 600_000 };
  const root = await issueCertificate({ ...rootOptions('other.test', key), ...times });
  const partner = async (name: string) => {
    const own = generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey;
    const recipe = { ...svidOptions(`spiffe://other.test/${name}`, own), issuer: root, issuerKey: key, ...times };
    return parseX509Svid({ chain: await issueCertificate(recipe), privateKey: own });
  };
  const [revoked, good] = [await partner('revoked'), await partner('good')];
  const agent = await createFakeWorkloadApi();
  await agent.register({ namespace: 'shop', serviceAccount: 'web' });
  agent.federate('other.test', derOf(root));
  const directory = mkdtempSync(join(tmpdir(), 'enmesh-spiffe-'));
  mkdirSync(join(directory, 'enmesh'));
  writeFileSync(join(directory, 'enmesh/mesh.yaml'), 'trustDomain: td.test\ntrustDomainAliases: [other.test]\n');
  const identity = { spiffe: { socket: agent.uri } };
  const mesh = await createMesh({ namespace: 'shop', serviceAccount: 'web', config: directory, log: false, env: {}, identity });
  try {
    await mesh.ready();
    const port = await open(mesh.createServer((request, response) => response.end(peerOf(request))));
    const call = (as: X509Svid) => send({ port, as, roots: [agent.authority.rootPem] }, 'GET', '/', []);
    expect(await call(revoked)).toMatchObject({ status: 200, body: 'spiffe://other.test/revoked' });
    const idle = connect({ port, as: revoked, roots: [agent.authority.rootPem] });
    await heard(idle, 'secureConnect');
    const closed = new Promise((done) => void idle.on('error', () => {}).on('close', done));
    idle.resume();
    agent.revoke(writeCrl({ issuer: root, key, serials: [revoked.serial] }));
    await closed;
    expect(await call(revoked)).toMatchObject({ status: 0 });
    expect(await call(good)).toMatchObject({ status: 200, body: 'spiffe://other.test/good' });
  } finally {
    await mesh.close();
    await agent.stop();
    rmSync(directory, { recursive: true, force: true });
  }
});
