import { isEnmeshError, type ErrorCode } from '../errors.js';
import { noticeEvents, type NoticeEvent } from '../telemetry/events.js';
import type { RemoteKeySource } from './key-set-fetch.js';

/** Where a key set is fetched, for people: without user, password and query, which may be secret. */
export function placeOf({ uri }: Pick<RemoteKeySource, 'uri'>): string {
  if (uri === undefined) return 'by discovery';
  if (!URL.canParse(uri)) return `at ${JSON.stringify(uri.slice(0, 200))}`;
  const { protocol, host, pathname } = new URL(uri);
  return `at ${protocol}//${host}${pathname}`;
}

const subjectOf = (source: RemoteKeySource): string =>
  `RequestAuthentication ${source.policy}: key set of issuer ${JSON.stringify(source.issuer)} ${placeOf(source)}`;

type Notice = Pick<NoticeEvent, 'kind' | 'level' | 'code'> & { readonly details?: Readonly<Record<string, unknown>> };

function tell(source: RemoteKeySource, notice: Notice, what: string): void {
  if (!noticeEvents.hasSubscribers) return;
  const { issuer } = source;
  noticeEvents.publish({ ...notice, message: `${subjectOf(source)}: ${what}`, details: { issuer, ...notice.details } });
}

/** Tells that the keys are new, or that the issuer is back. */
export function tellRefreshed(source: RemoteKeySource, keys: number, skipped: number): void {
  const level = keys === 0 ? 'warn' : 'info';
  tell(source, { kind: 'key-set-refreshed', level, details: { keys, skipped } }, `${keys} usable keys, ${skipped} others`);
}

/** Tells that a fetch failed, and what that means for tokens: `keysHeld` says whether older keys still count. */
export function tellFailed(source: RemoteKeySource, error: unknown, keysHeld: boolean): void {
  const own = isEnmeshError(error);
  const reason = own ? error.message : `it cannot be fetched (${errorName(error)})`;
  const code: ErrorCode = own ? error.code : 'ENMESH_JWT_FETCH_FAILED';
  const state = keysHeld ? 'the last keys stay in use' : 'tokens of this issuer are refused';
  tell(source, { kind: 'key-set-failed', level: keysHeld ? 'warn' : 'error', code }, `${reason}; ${state}`);
}

/** Tells that the last keys became too old. */
export function tellExpired(source: RemoteKeySource): void {
  const what = 'it could not be renewed for 24 hours; tokens of this issuer are refused';
  tell(source, { kind: 'key-set-expired', level: 'error', code: 'ENMESH_JWT_KEYS_UNAVAILABLE' }, what);
}

/** Tells that keys came from the disk because the issuer could not be reached. */
export function tellRestored(source: RemoteKeySource, keys: number, fetchedAt: number): void {
  const fetched = new Date(fetchedAt).toISOString();
  tell(
    source,
    { kind: 'key-set-restored', level: 'warn', details: { keys } },
    `${keys} usable keys from the disk, fetched ${fetched}`,
  );
}

/** Tells that a snapshot could not be kept or was not used. */
export function tellSnapshotProblem(source: RemoteKeySource, error: unknown): void {
  const reason = isEnmeshError(error) ? error.message : `its snapshot cannot be used (${errorName(error)})`;
  tell(source, { kind: 'key-set-snapshot-failed', level: 'warn', code: 'ENMESH_JWT_SNAPSHOT' }, reason);
}

/** Tells that keys of an issuer may come over plain http. */
export function tellInsecure(issuer: string): void {
  if (!noticeEvents.hasSubscribers) return;
  const message = `keys of issuer ${JSON.stringify(issuer)} are fetched over plain http: whoever can change them on the way can sign tokens`;
  noticeEvents.publish({ kind: 'insecure-option', level: 'warn', message, details: { issuer } });
}

function errorName(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : error instanceof Error ? error.name : 'unknown error';
}
