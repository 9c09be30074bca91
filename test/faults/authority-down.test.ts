import { afterEach, beforeEach, expect, it } from 'vitest';
import { createFleet, form, type Counted, type Fleet } from './support/fleet.js';
import { countAnew, pause, printFigures, total, until, watchLateness } from './support/figures.js';
import { isServed } from './support/raw-client.js';

const downAfterExpiryMs = form(3_000, 60_000);
const url = 'http://product.shop.svc.cluster.local/';

let fleet: Fleet;
beforeEach(async () => {
  fleet = await createFleet();
});
afterEach(() => fleet.close());

/**
 * A life of certificates in milliseconds that is short, and has time enough for what must be done in half of it: a small process starts in a
 * fifth of a second where the machine has time for it. Certificates count in whole seconds, so shorter lives would be of very unlike lengths.
 */
async function shortLife(): Promise<number> {
  const since = performance.now();
  await fleet.startCrowd();
  return 1_000 * Math.max(6, Math.ceil(((performance.now() - since) * 20) / 1_000));
}

it(
  'F3: while the authority is down nothing fails until certificates end, then everything is refused both ways, and all recovers within 5 s',
  async () => {
    const lifeMs = form(await shortLife(), 60_000);
    const service = await fleet.start('service', { serviceAccount: 'product', lifeMs });
    fleet.declare({ product: service.port });
    const caller = await fleet.start('caller', { serviceAccount: 'gateway', lifeMs });
    const load = { url, connections: 20, perSecond: 100, newPerSecond: 5, port: service.port };
    await caller.ask('load', load);
    const members = { product: service, gateway: caller };
    // Down for one of them after the other until its renewal has failed: half of its life is left then.
    for (const [serviceAccount, member] of Object.entries(members)) {
      const before = await member.ask<number>('rotations');
      const downAt = Date.now();
      fleet.isDown = [serviceAccount];
      const hasAsked = (): boolean => fleet.asked.some((one) => one.serviceAccount === serviceAccount && one.at >= downAt);
      await until(hasAsked, `a try of ${serviceAccount} to renew`);
      await pause(form(0, 10_000));
      fleet.isDown = false;
      await until(async () => (await member.ask<number>('rotations')) > before, `a rotation of ${serviceAccount}`);
    }
    const whileAlive = await caller.ask<Counted>('take');

    const stranger = await fleet.issue('gateway');
    fleet.isDown = 'for all';
    const downAt = Date.now();
    await pause(lifeMs);
    await until(async () => !(await isServed(service.port, stranger, fleet.roots)));
    // Only what is called from now on counts.
    await caller.ask('stop');
    await caller.ask('take');
    await caller.ask('load', load);
    await pause(downAfterExpiryMs);
    const inbound = await Promise.all(Array.from({ length: 20 }, () => isServed(service.port, stranger, fleet.roots)));
    const whenEnded = await caller.ask<Counted>('take');
    fleet.isDown = false;
    const downMs = Date.now() - downAt;
    const tries = fleet.asked.filter(({ at }) => at >= downAt).length;
    const lateness = await watchLateness(service, caller);
    const recovered = await until(async () => (await caller.ask<Counted>('take')).ok > 0);
    const lateMs = await lateness();
    const afterwards = await countAnew(caller, load, 50);
    const triesPerSecond = (tries * 1_000) / downMs / 2;
    printFigures('F3 authority down', {
      'while certificates live: served': whileAlive.ok,
      failed: total(whileAlive.failures),
      'after their end: served': whenEnded.ok,
      refused: total(whenEnded.failures),
      'tries per second and process': triesPerSecond,
      'recovered after ms': recovered,
      'late by the machine ms': lateMs,
    });
    expect(whileAlive.failures).toEqual({});
    expect(whileAlive.ok).toBeGreaterThan(100);
    expect(whenEnded.ok + whenEnded.handshakes.length).toBe(0);
    expect(total(whenEnded.failures)).toBeGreaterThan(20);
    expect(inbound).toEqual(inbound.map(() => false));
    expect(triesPerSecond).toBeLessThanOrEqual(1);
    expect(recovered).toBeLessThanOrEqual(5_000 + lateMs);
    expect(afterwards.failures).toEqual({});
  },
  form(240_000, 600_000),
);
