import { expect, it } from 'vitest';
import { maxAgeOf } from './cache-headers.js';

const date = 'Thu, 01 Jan 2026 00:00:00 GMT';
it.each([
  ['nothing', {}, undefined],
  ['max-age', { 'cache-control': 'public, Max-Age=300' }, 300_000],
  ['max-age in quotes', { 'cache-control': 'max-age="300"' }, 300_000],
  ['max-age of zero', { 'cache-control': 'max-age=0' }, 0],
  ['an age in a cache', { 'cache-control': 'max-age=300', age: '120' }, 180_000],
  ['an age above the maximum', { 'cache-control': 'max-age=300', age: '900' }, 0],
  ['an age that is no number', { 'cache-control': 'max-age=300', age: 'old' }, 300_000],
  ['no-store beside max-age', { 'cache-control': 'max-age=300, no-store' }, 0],
  ['no-cache', { 'cache-control': 'no-cache' }, 0],
  ['a negative max-age', { 'cache-control': 'max-age=-1' }, undefined],
  ['s-maxage alone, which is for shared caches', { 'cache-control': 's-maxage=9' }, undefined],
  ['expires', { expires: 'Thu, 01 Jan 2026 00:05:00 GMT', date }, 300_000],
  ['expires in the past', { expires: 'Wed, 31 Dec 2025 00:00:00 GMT', date }, 0],
  ['expires without a date', { expires: '0' }, undefined],
  ['max-age before expires', { 'cache-control': 'max-age=60', expires: 'Thu, 01 Jan 2026 00:05:00 GMT', date }, 60_000],
])('reads %s', (_, headers, expected) => {
  expect(maxAgeOf(headers)).toBe(expected);
});
