import { afterEach, beforeEach, expect, it } from 'vitest';
import { createFleet, form, type Counted, type Fleet, type Member, type Usage } from './support/fleet.js';
import { pause, printFigures, total, until, watchLateness } from './support/figures.js';

const rotations = form(12, 600);
const everyMs = form(500, 1_000);
const lifeMs = 600_000;
/** Rotations under load before memory is looked at first: heaps and pools have then grown to their working size. */
const warmUp = form(4, 120);
const points = form(3, 9);
const mib = 2 ** 20;

let fleet: Fleet;
beforeEach(async () => {
  fleet = await createFleet();
});
afterEach(() => fleet.close());

/** A service and its caller, under load; `bare` ones are what one writes without enmesh. */
interface Pair {
  readonly service: Member;
  readonly caller: Member;
}

async function startPair(bare: boolean): Promise<Pair> {
  const common = { lifeMs, everyMs, bare };
  const service = await fleet.start('service', { ...common, serviceAccount: 'product' });
  if (!bare) fleet.declare({ product: service.port });
  // Half a period later, so that the two sides rotate out of phase.
  await pause(everyMs / 2);
  const caller = await fleet.start('caller', { ...common, serviceAccount: 'gateway' });
  await caller.ask('load', {
    url: bare ? `https://127.0.0.1:${service.port}/` : 'http://product.shop.svc.cluster.local/',
    connections: form(8, 50),
    perSecond: form(100, 1_000),
    newPerSecond: 10,
    port: service.port,
  });
  return { service, caller };
}

const membersOf = ({ service, caller }: Pair): readonly Member[] => [service, caller];

async function rotated(members: readonly Member[], count: number): Promise<void> {
  const fewest = async (): Promise<number> =>
    Math.min(...(await Promise.all(members.map((one) => one.ask<number>('rotations')))));
  await until(async () => (await fewest()) >= count, `${count} rotations`, count * everyMs * 4 + 120_000);
}

/** Memory of one process at the points of time, in bytes. */
interface Course {
  readonly rss: number[];
  readonly heap: number[];
}

const grown = (values: readonly number[]): number => (values.at(-1) ?? 0) / (values[0] ?? 1);
const courseText = (values: readonly number[]): string => values.map((bytes) => Math.round(bytes / mib)).join(' ');

it(
  'F1: rotating certificates on both sides under load fails no request, shows no old certificate, and takes no more memory than bare Node',
  async () => {
    const [meshed, bare] = await Promise.all([startPair(false), startPair(true)]);
    const members = [...membersOf(meshed), ...membersOf(bare)];
    const lateness = await watchLateness(...members);
    const courses = members.map((): Course => ({ rss: [], heap: [] }));
    for (let point = 0; point < points; point++) {
      await rotated(members, Math.round(warmUp + ((rotations - warmUp) * point) / (points - 1)));
      const usages = await Promise.all(members.map((member) => member.ask<Usage>('usage')));
      usages.forEach(({ rss, heapUsed }, at) => {
        courses[at]?.rss.push(rss);
        courses[at]?.heap.push(heapUsed);
      });
    }
    await Promise.all([meshed.caller.ask('stop'), bare.caller.ask('stop')]);
    const counted = await meshed.caller.ask<Counted>('take');
    const twin = await bare.caller.ask<Counted>('take');
    const lateMs = await lateness();
    const ages = counted.handshakes.map(({ serial, at }) => at - (fleet.issuedAt.get(serial) ?? -Infinity));
    printFigures('F1 rotation', {
      rotations: await meshed.service.ask<number>('rotations'),
      requests: counted.ok,
      failed: total(counted.failures),
      'new connections': counted.handshakes.length,
      'oldest certificate shown ms': Math.max(...ages),
      'p99 ms': counted.p99,
      'late by the machine ms': lateMs,
      'requests of the bare twin': twin.ok,
      'its failed': total(twin.failures),
    });
    for (const [at, name] of ['service', 'caller', 'bare service', 'bare caller'].entries()) {
      const { rss, heap } = courses[at] as Course;
      printFigures(`F1 memory of the ${name}`, {
        'RSS MiB': courseText(rss),
        'after/before': grown(rss),
        'heap MiB': courseText(heap),
        'heap after/before': grown(heap),
      });
    }
    expect(counted.failures).toEqual({});
    // In the short form only that there was a load: a busy machine serves what it can.
    expect(counted.ok).toBeGreaterThan(form(50, rotations * everyMs * 0.5));
    expect(Math.max(...ages)).toBeLessThanOrEqual(everyMs + 1_000 + lateMs);
    for (const side of [0, 1]) {
      const [own, twins] = [courses[side], courses[side + 2]] as [Course, Course];
      // In the short form the heap still grows to its working size.
      expect(grown(own.heap)).toBeLessThanOrEqual(form(2, 1.15));
      expect(grown(own.rss) - Math.max(0, grown(twins.rss) - 1)).toBeLessThanOrEqual(form(1.5, 1.15));
    }
  },
  form(300_000, 3_600_000),
);
