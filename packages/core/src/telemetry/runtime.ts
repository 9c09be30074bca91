import { noticeEvents, type NoticeEvent } from './events.js';

/** A line of Node.js releases: when its support ends (milliseconds since the epoch), and its first release with the security fixes of June 2026. */
interface NodeLine {
  readonly endsAt?: number;
  readonly fixedIn?: readonly [minor: number, patch: number];
}

const lines: ReadonlyMap<number, NodeLine> = new Map([
  [20, { endsAt: endOf('2026-04-30') }],
  [22, { endsAt: endOf('2027-04-30'), fixedIn: [23, 0] }],
  [24, { endsAt: endOf('2028-04-30'), fixedIn: [17, 0] }],
  [26, { fixedIn: [3, 1] }],
]);

/**
 * The start-up warning for a Node.js whose own TLS and HTTP have known holes: a line out of support, or a release older than the fixes of June 2026
 * (TLS session reuse across hosts, host-name normalization, HTTP response queue). Undefined when there is nothing to say.
 * `version` is `process.version`, with or without its `v`; `now` is milliseconds since the epoch.
 */
export function evaluateRuntime(o: { readonly version: string; readonly now: number }): NoticeEvent | undefined {
  const parts = /^v?(\d+)\.(\d+)\.(\d+)/.exec(o.version);
  if (parts === null) return notice(o.version, 'is of no release that is known');
  const [major, minor, patch] = [Number(parts[1]), Number(parts[2]), Number(parts[3])];
  const line = lines.get(major);
  if (line === undefined) {
    const isOld = major < 26;
    return isOld ? notice(o.version, 'is of a line without support') : undefined;
  }
  if (line.endsAt !== undefined && o.now > line.endsAt) {
    return notice(o.version, `is of a line whose support ended on ${new Date(line.endsAt).toISOString().slice(0, 10)}`);
  }
  const fixedIn = line.fixedIn;
  if (fixedIn !== undefined && (minor < fixedIn[0] || (minor === fixedIn[0] && patch < fixedIn[1]))) {
    return notice(o.version, `lacks the security fixes of June 2026, which are in ${major}.${fixedIn.join('.')}`);
  }
  return undefined;
}

/** Whether a Node.js is older than the oldest that has what enmesh calls, 20.19; what it lacks would show as faults of no meaning. */
export function isTooOld(version: string): boolean {
  const [, major = '', minor = ''] = /^v?(\d+)\.(\d+)\./.exec(version) ?? [];
  return major !== '' && (Number(major) < 20 || (Number(major) === 20 && Number(minor) < 19));
}

/** Publishes what {@link evaluateRuntime} has to say, as a `runtime-unsupported` notice. */
export function reportRuntime(version: string, now: Date): void {
  const warning = evaluateRuntime({ version, now: now.getTime() });
  if (warning !== undefined) noticeEvents.publish(warning);
}

function notice(version: string, why: string): NoticeEvent {
  return {
    kind: 'runtime-unsupported',
    level: 'warn',
    message: `Node.js ${version.slice(0, 40)} ${why}; holes in its TLS and HTTP are not mended any more: run 22.23.0, 24.17.0, 26.3.1 or later`,
    details: { version: version.slice(0, 40) },
  };
}

// Support lasts to the end of its last day.
function endOf(day: string): number {
  return Date.parse(`${day}T23:59:59.999Z`);
}
