import { EnmeshError } from '../errors.js';
import type { Stop } from '../identity/source.js';
import type { X509Svid } from '../identity/svid.js';
import { noticeEvents, renewalFailures, type NoticeEvent } from '../telemetry/events.js';

/** Gives `svid` back when it counts at `now`, in milliseconds since the epoch; throws `ENMESH_IDENTITY_NONE` when it has expired or has not begun. */
export function checkCurrent(svid: X509Svid, now: number): X509Svid {
  if (now >= svid.notAfter)
    throw new EnmeshError('ENMESH_IDENTITY_NONE', `The SVID of ${svid.id.uri} expired at ${timeText(svid.notAfter)}`);
  if (now < svid.notBefore) throw new EnmeshError('ENMESH_IDENTITY_NONE', clockText(svid, now));
  return svid;
}

/** Publishes `identity-rotated`. */
export function tellRotated(svid: X509Svid): void {
  const message = `Holding an SVID of ${svid.id.uri} until ${timeText(svid.notAfter)}`;
  notice({ kind: 'identity-rotated', level: 'info', message, details: detailsOf(svid) });
}

/** Publishes `identity-expiring`; `plight` says in words what is wrong with the renewal of an SVID that still lives at `now`. */
export function tellExpiring(svid: X509Svid, now: number, plight: string): void {
  const isExpired = now >= svid.notAfter;
  const message = isExpired
    ? `The SVID of ${svid.id.uri} expired at ${timeText(svid.notAfter)}: handshakes are refused both ways until there is a new one`
    : `The SVID of ${svid.id.uri} ${plight} and ends at ${timeText(svid.notAfter)}`;
  notice({ kind: 'identity-expiring', level: isExpired ? 'error' : 'warn', message, details: detailsOf(svid) });
}

/**
 * Counts a failed renewal, and publishes `identity-renewal-failed` where `isTold`: whoever tries every few seconds tells of it seldom, and the metric
 * has to be right all the same.
 */
export function tellRenewalFailed(event: Omit<NoticeEvent, 'kind'>, isTold = true): void {
  if (renewalFailures.hasSubscribers) renewalFailures.publish({ code: event.code ?? 'ENMESH_ISSUANCE_FAILED' });
  if (isTold) notice({ ...event, kind: 'identity-renewal-failed' });
}

/** Adds a listener. One given twice is two watches, each with a stop of its own. */
export function addWatcher<T>(watchers: Set<(value: T) => void>, onChange: (value: T) => void): Stop {
  const watcher = (value: T): void => onChange(value);
  watchers.add(watcher);
  return () => void watchers.delete(watcher);
}

/** Publishes a notice where anybody listens. */
export function notice(event: NoticeEvent): void {
  if (noticeEvents.hasSubscribers) noticeEvents.publish(event);
}

/** What a source that was closed answers. */
export function closedError(): EnmeshError {
  return new EnmeshError('ENMESH_IDENTITY_NONE', 'The identity source is closed');
}

/** That the clock stands before an SVID begins, in words. */
export function clockText(svid: X509Svid, now: number): string {
  return `The clock (${timeText(now)}) stands before the beginning of the SVID of ${svid.id.uri} (${timeText(svid.notBefore)})`;
}

/** A time as messages have it. */
export function timeText(ms: number): string {
  return new Date(ms).toISOString();
}

function detailsOf(svid: X509Svid): Readonly<Record<string, unknown>> {
  return { spiffeId: svid.id.uri, serial: svid.serial, notBefore: svid.notBefore, notAfter: svid.notAfter };
}
