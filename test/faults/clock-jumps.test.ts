import { afterEach, beforeEach, expect, it } from 'vitest';
import { createFleet, isLong, type Counted, type Fleet, type Member } from './support/fleet.js';
import { pause, printFigures, total, until } from './support/figures.js';
import { isServed, openTls, ask } from './support/raw-client.js';

const hour = 3_600_000;
const year = 365 * 24 * hour;
const url = 'http://product.shop.svc.cluster.local/';

let fleet: Fleet;
let service: Member;
let caller: Member;
beforeEach(async () => {
  fleet = await createFleet();
  service = await fleet.start('service', { serviceAccount: 'product', lifeMs: 24 * hour });
  fleet.declare({ product: service.port });
  caller = await fleet.start('caller', { serviceAccount: 'gateway', lifeMs: 24 * hour });
  await caller.ask('load', { url, connections: 10, perSecond: 100, newPerSecond: 5, port: service.port });
});
afterEach(() => fleet.close());

async function jump(offset: number): Promise<void> {
  await Promise.all([service.ask('clock', { offset }), caller.ask('clock', { offset })]);
}

/** What is served in a while from now on. */
async function serve(): Promise<Counted> {
  await caller.ask('take');
  await pause(1_000);
  return caller.ask<Counted>('take');
}

// The clock of OpenSSL is the machine's and does not jump here: what is tried is everything that enmesh decides by time itself.
it('F15: an hour forwards within the life of certificates disturbs nobody', async () => {
  await jump(hour);
  const { ok, failures } = await serve();
  printFigures('F15 one hour forwards', { served: ok, failed: total(failures) });
  expect(failures).toEqual({});
  expect(ok).toBeGreaterThan(30);
});

it.each([
  { name: 'an hour backwards, before the beginning of every certificate', offset: -hour },
  { name: 'ten years forwards, after the end of every certificate', offset: 10 * year },
])('F15: $name refuses all, on open connections too, and ends with the jump', async ({ name, offset }) => {
  const stranger = await fleet.issue('gateway');
  const open = openTls(service.port, stranger, fleet.roots);
  expect(await ask(open)).toBe(true);
  await jump(offset);
  // What was on its way at the jump may still finish.
  await pause(200);
  const { ok, handshakes } = await serve();
  // Nobody's certificate has ended when the clock goes back; our own is found invalid by the next sweep.
  if (offset > 0 || isLong) await until(async () => !(await ask(open)), 15_000);
  const isNewServed = await isServed(service.port, stranger, fleet.roots);
  await jump(0);
  const recoveredMs = await until(async () => (await caller.ask<Counted>('take')).ok > 5, 20_000);
  const { failures } = await serve();
  printFigures(`F15 ${name}`, {
    'served in the jump': ok + handshakes.length,
    'recovered after ms': recoveredMs,
    'failed afterwards': total(failures),
  });
  expect(ok + handshakes.length).toBe(0);
  expect(isNewServed).toBe(false);
  expect(recoveredMs).toBeLessThan(5_000);
  expect(failures).toEqual({});
});
