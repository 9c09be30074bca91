import { createTestAuthority } from '@enmesh/core/testing';
import { createFakeWorkloadApi } from '../support/workload-api.js';
import { describeWorkloadWorld } from './spire-scenarios.js';

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
