import { expect, it } from 'vitest';
import { createTestClock } from './clock.js';

it('stands still until it is moved', () => {
  const clock = createTestClock(1000);
  expect(clock.now()).toBe(1000);
  clock.advance(50);
  expect(clock.now()).toBe(1050);
  expect(createTestClock().now()).toBe(Date.UTC(2026, 0, 1));
});

it('runs timers in their order at their own time, also those that timers start', () => {
  const clock = createTestClock(0);
  const ran: [string, number][] = [];
  clock.timer(() => ran.push(['second', clock.now()]), 20);
  clock.timer(() => {
    ran.push(['first', clock.now()]);
    clock.timer(() => ran.push(['third', clock.now()]), 15);
  }, 10);
  clock.timer(() => ran.push(['later', clock.now()]), 100);
  clock.advance(50);
  expect(ran).toEqual([
    ['first', 10],
    ['second', 20],
    ['third', 25],
  ]);
  expect([clock.now(), clock.pending]).toEqual([50, 1]);
});

it('forgets a timer that was stopped, and runs none on the way back', () => {
  const clock = createTestClock(1000);
  let runs = 0;
  const stop = clock.timer(() => runs++, 10);
  stop();
  clock.timer(() => runs++, 5);
  clock.advance(-500);
  expect([clock.now(), runs]).toEqual([500, 0]);
  clock.advance(504);
  expect(runs).toBe(0);
  clock.advance(1);
  expect(runs).toBe(1);
});
