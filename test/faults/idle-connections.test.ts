import { afterEach, beforeEach, expect, it } from 'vitest';
import { createFleet, form, type Counted, type Fleet, type Member, type Usage } from './support/fleet.js';
import { pause, printFigures, total, until, watchLateness } from './support/figures.js';
import { keyPair } from './support/raw-client.js';

const idle = form(500, 10_000);
const idleMs = form(2_000, 900_000);
const url = 'http://product.shop.svc.cluster.local/';
// Idle connections must not fall to Node's own time for keeping them.
const server = { http: { keepAliveTimeout: 3_600_000 } };

let fleet: Fleet;
beforeEach(async () => {
  fleet = await createFleet();
});
afterEach(() => fleet.close());

interface Weight {
  readonly kibEach: number;
  readonly rss: number;
}

/** What the connections of a crowd add to a service, for each of them. */
async function weigh(service: Member, crowd: Member, given: object): Promise<Weight> {
  // The first connections also bring code and caches, which every further one shares.
  expect(await crowd.ask('gather', { ...given, port: service.port, count: 50 })).toBe(50);
  const before = await service.ask<Usage>('usage');
  expect(await crowd.ask('gather', { ...given, port: service.port, count: idle })).toBe(idle);
  await pause(500);
  const { rss } = await service.ask<Usage>('usage');
  return { kibEach: (rss - before.rss) / 1024 / idle, rss };
}

it(
  'F8: idle connections weigh little more than in bare Node, disturb nobody, and end at SIGTERM',
  async () => {
    const certificate = keyPair(await fleet.issue('gateway'));
    const given = { certificate, roots: fleet.roots };
    const common = { serviceAccount: 'product', lifeMs: 3_600_000 };
    const bare = await fleet.start('service', { ...common, bare: true });
    const crowd = await fleet.startCrowd();
    const plain = await weigh(bare, crowd, given);
    await crowd.ask('disperse');
    bare.child.kill('SIGKILL');

    const service = await fleet.start('service', { ...common, server });
    fleet.declare({ product: service.port });
    const meshed = await weigh(service, crowd, given);
    const caller = await fleet.start('caller', { serviceAccount: 'gateway', lifeMs: 3_600_000 });
    await caller.ask('load', { url, connections: 20, perSecond: 200 });
    await pause(idleMs);
    await caller.ask('stop');
    const counted = await caller.ask<Counted>('take');
    const { rss: later } = await service.ask<Usage>('usage');
    const alive = await crowd.ask<number>('alive');
    const lateness = await watchLateness(crowd);
    service.child.kill('SIGTERM');
    const endedMs = await until(async () => (await crowd.ask<number>('alive')) === 0, 'the last of the connections ended');
    const lateMs = await lateness();
    printFigures('F8 idle connections', {
      connections: idle,
      'KiB each': meshed.kibEach,
      'KiB each in bare Node': plain.kibEach,
      'RSS MiB': meshed.rss / 2 ** 20,
      'after a while': later / 2 ** 20,
      requests: counted.ok,
      failed: total(counted.failures),
      'p99 ms': counted.p99,
      'all ended after SIGTERM ms': endedMs,
      'late by the machine ms': lateMs,
      exit: String((await service.exited)[0]),
    });
    expect(counted.failures).toEqual({});
    expect(alive).toBe(idle + 50);
    expect(meshed.kibEach - plain.kibEach).toBeLessThanOrEqual(100);
    expect(endedMs).toBeLessThanOrEqual(5_000 + lateMs);
    expect((await service.exited)[0]).toBe(0);
  },
  form(240_000, 1_500_000),
);
