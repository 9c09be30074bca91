import { afterEach, beforeEach, expect, it } from 'vitest';
import { createTestAuthority } from '@enmesh/core/testing';
import { createFleet, form, type Counted, type Fleet, type Member } from './support/fleet.js';
import { pause, printFigures, total, until, watchLateness } from './support/figures.js';
import { ask, isServed, openTls } from './support/raw-client.js';

const phaseMs = form(1_000, 60_000);
const everyMs = form(600, 1_000);
const url = 'http://product.shop.svc.cluster.local/';

let fleet: Fleet;
beforeEach(async () => {
  fleet = await createFleet();
});
afterEach(() => fleet.close());

/** Waits until both have renewed twice more, so that what they hold was asked for after now. */
async function renewed(members: readonly Member[]): Promise<void> {
  for (const member of members) {
    const before = await member.ask<number>('rotations');
    await until(async () => (await member.ask<number>('rotations')) >= before + 2);
  }
}

it(
  'F2: a root rolls from old over both to new without a failed request, and peers of the old root are then refused and cut off',
  async () => {
    const old = fleet.authority;
    const next = await createTestAuthority();
    const common = { lifeMs: 600_000, everyMs };
    const service = await fleet.start('service', { ...common, serviceAccount: 'product' });
    fleet.declare({ product: service.port });
    const caller = await fleet.start('caller', { ...common, serviceAccount: 'gateway' });
    const both = [old.rootPem, next.rootPem];
    const stranger = await fleet.issue('gateway', old);
    await caller.ask('load', { url, connections: form(15, 50), perSecond: form(200, 500), newPerSecond: 10, port: service.port });
    await pause(phaseMs);
    await fleet.giveRoots(both);
    await pause(phaseMs);
    fleet.authority = next;
    await renewed([service, caller]);
    await pause(phaseMs);
    // Of a peer that stays with the old root: connections that have been used, one of which asks again.
    const busy = openTls(service.port, stranger, both);
    const idle = Array.from({ length: 20 }, () => openTls(service.port, stranger, both));
    for (const socket of [busy, ...idle]) expect(await ask(socket)).toBe(true);
    const lateness = await watchLateness(service, caller);
    const since = performance.now();
    let cutOff = 0;
    for (const socket of [busy, ...idle]) socket.once('close', () => (cutOff = Math.max(cutOff, performance.now() - since)));
    await fleet.giveRoots([next.rootPem]);
    const refusedAfter = await until(async () => !(await isServed(service.port, stranger, both)));
    const asked = await ask(busy);
    await until(() => [busy, ...idle].every(({ destroyed }) => destroyed));
    const lateMs = await lateness();
    await pause(phaseMs);
    const later = await Promise.all(Array.from({ length: 20 }, () => isServed(service.port, stranger, both)));
    await caller.ask('stop');
    const counted = await caller.ask<Counted>('take');
    printFigures('F2 root roll', {
      requests: counted.ok,
      'new connections': counted.handshakes.length,
      failed: total(counted.failures),
      'old root refused after ms': refusedAfter,
      'its open connections ended after ms': cutOff,
      'p99 ms': counted.p99,
      'late by the machine ms': lateMs,
    });
    expect(counted.failures).toEqual({});
    expect(counted.ok).toBeGreaterThan(form(50, phaseMs / 4));
    expect(refusedAfter).toBeLessThan(1_000 + lateMs);
    expect(asked).toBe(false);
    expect(cutOff).toBeLessThan(30_000 + lateMs);
    expect(later).toEqual(later.map(() => false));
  },
  form(240_000, 600_000),
);

it('F2: a caller that has lost a root calls no server of it any more, on new and on open connections', async () => {
  const old = fleet.authority;
  const next = await createTestAuthority();
  const lifeMs = 600_000;
  fleet.roots = [old.rootPem, next.rootPem];
  const service = await fleet.start('service', { serviceAccount: 'product', lifeMs });
  fleet.declare({ product: service.port });
  fleet.authority = next;
  const caller = await fleet.start('caller', { serviceAccount: 'gateway', lifeMs });
  expect(await caller.ask('call', { url })).toEqual({ ok: 1, failures: {} });
  await caller.ask('bundles', { roots: [next.rootPem] });
  expect(await caller.ask('call', { url })).toEqual({ ok: 0, failures: { ENMESH_TLS_SERVER_UNVERIFIED: 1 } });
});
