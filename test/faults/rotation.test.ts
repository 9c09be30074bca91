import { afterEach, beforeEach, expect, it } from 'vitest';
import { createFleet, form, type Counted, type Fleet, type Usage } from './support/fleet.js';
import { pause, printFigures, total, until } from './support/figures.js';

const rotations = form(12, 600);
const everyMs = form(500, 1_000);
const url = 'http://product.shop.svc.cluster.local/';

let fleet: Fleet;
beforeEach(async () => {
  fleet = await createFleet();
});
afterEach(() => fleet.close());

it(
  'F1: rotating certificates on both sides under load fails no request and shows no old certificate',
  async () => {
    const lifeMs = 600_000;
    const service = await fleet.start('service', { serviceAccount: 'product', lifeMs, everyMs });
    fleet.declare({ product: service.port });
    // Half a period later, so that the two sides rotate out of phase.
    await pause(everyMs / 2);
    const caller = await fleet.start('caller', { serviceAccount: 'gateway', lifeMs, everyMs });
    await caller.ask('load', {
      url,
      connections: form(15, 50),
      perSecond: form(300, 1_000),
      newPerSecond: 10,
      port: service.port,
    });
    await pause(form(1_000, 10_000));
    const { rss: before } = await service.ask<Usage>('usage');
    const { rss: callerBefore } = await caller.ask<Usage>('usage');
    const seen = async (): Promise<number> =>
      Math.min(await service.ask<number>('rotations'), await caller.ask<number>('rotations'));
    await until(async () => (await seen()) >= rotations, rotations * everyMs * 3);
    await caller.ask('stop');
    const counted = await caller.ask<Counted>('take');
    const { rss: after } = await service.ask<Usage>('usage');
    const { rss: callerAfter } = await caller.ask<Usage>('usage');
    const ages = counted.handshakes.map(({ serial, at }) => at - (fleet.issuedAt.get(serial) ?? -Infinity));
    printFigures('F1 rotation', {
      rotations: await seen(),
      requests: counted.ok,
      failed: total(counted.failures),
      'new connections': counted.handshakes.length,
      'oldest certificate shown ms': Math.max(...ages),
      'p99 ms': counted.p99,
      'service RSS after/before': after / before,
      'caller RSS after/before': callerAfter / callerBefore,
    });
    expect(counted.failures).toEqual({});
    // In the short form only that there was a load: a busy machine serves what it can.
    expect(counted.ok).toBeGreaterThan(form(50, rotations * everyMs * 0.5));
    expect(Math.max(...ages)).toBeLessThanOrEqual(everyMs + 1_000);
    // In the short form the heap still grows to its working size.
    expect(after / before).toBeLessThanOrEqual(form(1.5, 1.15));
    expect(callerAfter / callerBefore).toBeLessThanOrEqual(form(1.5, 1.15));
  },
  form(240_000, 1_800_000),
);
