import { median } from '../statistics.mjs';

let sink = 0;

/** The CPU time of this process in milliseconds: unlike the time of day it does not count what other processes had. */
export const cpu = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};

/** How often `run` goes into about `ms` milliseconds. */
function calibrate(run, ms) {
  for (let times = 1; ; times *= 2) {
    const start = cpu();
    for (let i = 0; i < times; i++) sink += run() ? 1 : 0;
    const took = cpu() - start;
    if (took >= ms / 4) return Math.max(1, Math.round((times * ms) / took));
  }
}

/** Nanoseconds per call of `run`, which answers whether the request is allowed: the median of five calibrated loops. */
export function nanoseconds(run, ms) {
  const times = calibrate(run, ms);
  const figures = Array.from({ length: 5 }, () => {
    const start = cpu();
    for (let i = 0; i < times; i++) sink += run() ? 1 : 0;
    return ((cpu() - start) * 1e6) / times;
  });
  return median(figures);
}

/** Numbers from 0 to 1 that are the same in every run. */
export function createRandom(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}
