import { afterEach, beforeEach, expect, it } from 'vitest';
import { createFleet, isLong, type Counted, type Fleet, type Member } from './support/fleet.js';
import { countAnew, printFigures, total, until, watchLateness } from './support/figures.js';
import { isServed, openTls, ask } from './support/raw-client.js';

const hour = 3_600_000;
const year = 365 * 24 * hour;
const url = 'http://product.shop.svc.cluster.local/';

let fleet: Fleet;
let service: Member;
let caller: Member;
let load: object;
beforeEach(async () => {
  fleet = await createFleet();
  service = await fleet.start('service', { serviceAccount: 'product', lifeMs: 24 * hour });
  fleet.declare({ product: service.port });
  caller = await fleet.start('caller', { serviceAccount: 'gateway', lifeMs: 24 * hour });
  load = { url, connections: 10, perSecond: 100, newPerSecond: 5, port: service.port };
  await caller.ask('load', load);
  await until(async () => (await caller.ask<number>('served')) >= 20);
});
afterEach(() => fleet.close());

async function jump(offset: number): Promise<void> {
  await Promise.all([service.ask('clock', { offset }), caller.ask('clock', { offset })]);
}

// The clock of OpenSSL is the machine's and does not jump here: what is tried is everything that enmesh decides by time itself.
it('F15: an hour forwards within the life of certificates disturbs nobody', async () => {
  await caller.ask('take');
  await jump(hour);
  await until(async () => (await caller.ask<number>('served')) >= 50);
  await caller.ask('stop');
  const { ok, failures } = await caller.ask<Counted>('take');
  printFigures('F15 one hour forwards', { served: ok, failed: total(failures) });
  expect(failures).toEqual({});
});

it.each([
  { name: 'an hour backwards, before the beginning of every certificate', offset: -hour },
  { name: 'ten years forwards, after the end of every certificate', offset: 10 * year },
])('F15: $name refuses all, on open connections too, and ends with the jump', async ({ name, offset }) => {
  const stranger = await fleet.issue('gateway');
  const open = openTls(service.port, stranger, fleet.roots);
  expect(await ask(open)).toBe(true);
  const lateness = await watchLateness(service, caller);
  await jump(offset);
  const { ok, handshakes } = await countAnew(caller, load, 0);
  // Nobody's certificate has ended when the clock goes back; our own is found invalid by the next sweep.
  const sweptMs = offset > 0 || isLong ? await until(async () => !(await ask(open)), 'the open connection was ended') : 0;
  const isNewServed = await isServed(service.port, stranger, fleet.roots);
  await caller.ask('load', load);
  await jump(0);
  const recoveredMs = await until(async () => (await caller.ask<Counted>('take')).ok > 5);
  const lateMs = await lateness();
  const { failures } = await countAnew(caller, load, 20);
  printFigures(`F15 ${name}`, {
    'served in the jump': ok + handshakes.length,
    'recovered after ms': recoveredMs,
    'late by the machine ms': lateMs,
    'failed afterwards': total(failures),
  });
  expect(ok + handshakes.length).toBe(0);
  expect(isNewServed).toBe(false);
  expect(sweptMs).toBeLessThan(15_000 + lateMs);
  expect(recoveredMs).toBeLessThan(5_000 + lateMs);
  expect(failures).toEqual({});
});
