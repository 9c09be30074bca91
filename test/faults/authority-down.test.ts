import { afterEach, beforeEach, expect, it } from 'vitest';
import { createFleet, form, type Counted, type Fleet } from './support/fleet.js';
import { pause, printFigures, total, until } from './support/figures.js';
import { isServed } from './support/raw-client.js';

// Certificates count in whole seconds, so shorter lives would be of very unlike lengths.
const lifeMs = form(6_000, 60_000);
const shortDownMs = form(3_400, 40_000);
const downAfterExpiryMs = form(3_000, 60_000);
const url = 'http://product.shop.svc.cluster.local/';

let fleet: Fleet;
beforeEach(async () => {
  fleet = await createFleet();
});
afterEach(() => fleet.close());

it(
  'F3: while the authority is down nothing fails until certificates end, then everything is refused both ways, and all recovers within 5 s',
  async () => {
    const service = await fleet.start('service', { serviceAccount: 'product', lifeMs });
    fleet.declare({ product: service.port });
    const caller = await fleet.start('caller', { serviceAccount: 'gateway', lifeMs });
    await caller.ask('load', { url, connections: 20, perSecond: 100, newPerSecond: 5, port: service.port });
    const rotated = async (times: number): Promise<boolean> =>
      (await service.ask<number>('rotations')) >= times && (await caller.ask<number>('rotations')) >= times;

    // Both hold a new certificate: what they held at an outage could else end in it.
    await until(() => rotated(1), lifeMs * 2);
    fleet.isDown = true;
    await pause(shortDownMs);
    fleet.isDown = false;
    await until(() => rotated(2), lifeMs);
    const whileAlive = await caller.ask<Counted>('take');

    const stranger = await fleet.issue('gateway');
    fleet.isDown = true;
    const downAt = Date.now();
    await pause(lifeMs);
    await until(async () => !(await isServed(service.port, stranger, fleet.roots)), lifeMs);
    await caller.ask<Counted>('take');
    await pause(downAfterExpiryMs);
    const inbound = await Promise.all(Array.from({ length: 20 }, () => isServed(service.port, stranger, fleet.roots)));
    const whenEnded = await caller.ask<Counted>('take');
    fleet.isDown = false;
    const downMs = Date.now() - downAt;
    const tries = fleet.asked.filter(({ at }) => at >= downAt).length;
    const recovered = await until(async () => (await caller.ask<Counted>('take')).ok > 0, 20_000);
    await pause(500);
    await caller.ask('take');
    await pause(1_000);
    await caller.ask('stop');
    const afterwards = await caller.ask<Counted>('take');
    const triesPerSecond = (tries * 1_000) / downMs / 2;
    printFigures('F3 authority down', {
      'while certificates live: served': whileAlive.ok,
      failed: total(whileAlive.failures),
      'after their end: served': whenEnded.ok,
      refused: total(whenEnded.failures),
      'tries per second and process': triesPerSecond,
      'recovered after ms': recovered,
    });
    expect(whileAlive.failures).toEqual({});
    expect(whileAlive.ok).toBeGreaterThan(100);
    expect(whenEnded.ok + whenEnded.handshakes.length).toBe(0);
    expect(total(whenEnded.failures)).toBeGreaterThan(50);
    expect(inbound).toEqual(inbound.map(() => false));
    expect(triesPerSecond).toBeLessThanOrEqual(1);
    expect(recovered).toBeLessThanOrEqual(5_000);
    expect(afterwards.failures).toEqual({});
    expect(afterwards.ok).toBeGreaterThan(20);
  },
  form(240_000, 600_000),
);
