import { afterEach, beforeEach, expect, it } from 'vitest';
import { createFleet, form, type Counted, type Fleet } from './support/fleet.js';
import { pause, printFigures, until, watchLateness } from './support/figures.js';
import { isOpen } from './support/raw-client.js';

const perSecond = form(100, 500);
const slowMs = form(1_500, 5_000);
const url = `http://product.shop.svc.cluster.local/slow?ms=${slowMs}`;
const lifeMs = 3_600_000;

let fleet: Fleet;
beforeEach(async () => {
  fleet = await createFleet();
});
afterEach(() => fleet.close());

interface Progress {
  readonly entered: number;
  readonly finished: number;
}

it(
  'F13: SIGTERM under load lets every request that a handler has begun finish, and the process ends with 0',
  async () => {
    const service = await fleet.start('service', { serviceAccount: 'product', lifeMs });
    fleet.declare({ product: service.port });
    const caller = await fleet.start('caller', { serviceAccount: 'gateway', lifeMs });
    // As many workers as there are requests in flight at that rate.
    const connections = (perSecond * slowMs) / 1_000;
    await caller.ask('load', { url, connections, perSecond });
    await pause(slowMs * 2);
    let progress: Progress = { entered: 0, finished: 0 };
    progress = await service.ask<Progress>('progress');
    const inFlight = progress.entered - progress.finished;
    const since = performance.now();
    // The last that the process says of itself: it is asked until it answers no more.
    const watching = (async () => {
      while (service.child.exitCode === null) {
        await Promise.race([service.ask<Progress>('progress').then((now) => (progress = now)), service.exited]).catch(() => {});
        await pause(20);
      }
    })();
    const lateness = await watchLateness();
    service.child.kill('SIGTERM');
    const [code] = await service.exited;
    const exitMs = performance.now() - since;
    const lateMs = await lateness();
    await watching;
    await caller.ask('stop');
    const counted = await caller.ask<Counted>('take');
    printFigures('F13 SIGTERM', {
      'in flight': inFlight,
      begun: progress.entered,
      finished: progress.finished,
      'answered at the caller': counted.ok,
      'exit code': String(code),
      'exit ms': exitMs,
      'late by the machine ms': lateMs,
      'refused afterwards': Object.entries(counted.failures)
        .map(([name, count]) => `${name} ${count}`)
        .join(', '),
    });
    expect(code).toBe(0);
    expect(inFlight).toBeGreaterThan(perSecond / 10);
    expect(counted.ok).toBeGreaterThanOrEqual(progress.entered);
    expect(exitMs).toBeLessThanOrEqual(10_000 + lateMs);
  },
  form(240_000, 120_000),
);

it('F13: a second SIGTERM ends the process at once', async () => {
  const service = await fleet.start('service', { serviceAccount: 'product', lifeMs });
  fleet.declare({ product: service.port });
  const caller = await fleet.start('caller', { serviceAccount: 'gateway', lifeMs });
  await caller.ask('load', { url: 'http://product.shop.svc.cluster.local/slow?ms=60000', connections: 5, perSecond: 5 });
  await until(async () => (await service.ask<Progress>('progress')).entered === 5);
  service.child.kill('SIGTERM');
  await until(async () => !(await isOpen(service.port)), 'the first signal has closed the port');
  expect(service.child.exitCode).toBeNull();
  service.child.kill('SIGTERM');
  // The signal's own end: nothing of ours was waited for.
  expect(await service.exited).toEqual([null, 'SIGTERM']);
});
