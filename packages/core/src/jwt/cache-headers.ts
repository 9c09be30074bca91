import type { IncomingHttpHeaders } from 'node:http';

/**
 * How long an answer counts by its own headers, in milliseconds: Cache-Control before Expires, less the Age that a cache gives it (RFC 9111 section 4.2).
 * 0 for `no-store` and `no-cache`; undefined when nothing readable says so.
 */
export function maxAgeOf(headers: Pick<IncomingHttpHeaders, 'cache-control' | 'expires' | 'date' | 'age'>): number | undefined {
  const directives = (headers['cache-control'] ?? '').toLowerCase().split(',');
  const names = directives.map((directive) => directive.trim());
  if (names.includes('no-store') || names.includes('no-cache')) return 0;
  const seconds = names.map((name) => /^max-age="?(\d{1,10})"?$/.exec(name)?.[1]).find((digits) => digits !== undefined);
  if (seconds !== undefined) return Math.max(0, Number(seconds) - ageOf(headers.age)) * 1000;
  const until = Date.parse(headers.expires ?? '') - Date.parse(headers.date ?? '');
  return Number.isFinite(until) ? Math.max(0, until) : undefined;
}

function ageOf(age: string | undefined): number {
  return age !== undefined && /^\d{1,10}$/.test(age) ? Number(age) : 0;
}
