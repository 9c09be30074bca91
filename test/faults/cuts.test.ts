import { afterEach, beforeEach, expect, it } from 'vitest';
import { createBadWire, type BadWire, type WireFault } from './support/bad-wire.js';
import { createFleet, form, type Counted, type Fleet, type Member } from './support/fleet.js';
import { countAnew, pause, printFigures, total, until } from './support/figures.js';

const eachMs = form(1_200, 20_000);
const lifeMs = 3_600_000;
const url = 'http://product.shop.svc.cluster.local/count?id={id}';

let fleet: Fleet;
let wire: BadWire | undefined;
beforeEach(async () => {
  fleet = await createFleet();
});
afterEach(async () => {
  wire?.close();
  await fleet.close();
});

const faults: readonly WireFault[] = [
  { kind: 'delay' },
  { kind: 'reset', chance: 0.01 },
  // Past the handshake of most connections: their answers are cut in the middle.
  { kind: 'cut', afterBytes: 8_000 },
  { kind: 'black-hole' },
];

async function counts(service: Member): Promise<number[]> {
  return (await service.ask<[string, number][]>('counts')).map(([, count]) => count);
}

it(
  'F14: delays, resets, cuts, silence and a killed peer never make a request arrive twice, and a good wire serves again',
  async () => {
    let service = await fleet.start('service', { serviceAccount: 'product', lifeMs });
    wire = await createBadWire(service.port);
    fleet.declare({ product: wire.port });
    const caller = await fleet.start('caller', { serviceAccount: 'gateway', lifeMs });
    const load = { url, method: 'POST', body: 'once', connections: 20, perSecond: 200 };
    // So that callers are free again after a silence.
    await caller.ask('load', { ...load, timeoutMs: 2_000 });
    const seen: string[] = [];
    const recovery: number[] = [];
    for (const fault of faults) {
      wire.fault = fault;
      await pause(eachMs);
      wire.fault = { kind: 'none' };
      const { ok, failures } = await caller.ask<Counted>('take');
      seen.push(`${fault.kind} ${ok}/${ok + total(failures)}`);
      recovery.push(await until(async () => (await caller.ask<Counted>('take')).ok > 10));
    }
    const before = await counts(service);
    service.child.kill('SIGKILL');
    await service.exited;
    await pause(500);
    service = await fleet.start('service', { serviceAccount: 'product', lifeMs });
    wire.target = service.port;
    await caller.ask('take');
    recovery.push(await until(async () => (await caller.ask<Counted>('take')).ok > 10));
    const healed = await countAnew(caller, load, 50);
    const arrived = [...before, ...(await counts(service))];
    printFigures('F14 cuts', {
      'served of sent': seen.join(', '),
      'requests that arrived': arrived.length,
      'more than once': arrived.filter((count) => count > 1).length,
      'longest recovery ms': Math.max(...recovery),
      'failed afterwards': total(healed.failures),
    });
    expect(Math.max(...arrived)).toBe(1);
    expect(arrived.length).toBeGreaterThan(100);
    expect(healed.failures).toEqual({});
  },
  form(240_000, 300_000),
);
