import type { RequestIdentity } from '../identity/caller.js';
import { parseActClaim } from '../propagation/hop-token.js';
import type { AuditClaim, AuditTrace, AuditUser } from './audit.js';

const maxClaim = 256;
const maxItems = 16;

/** Whatever begins as a JWT does, as it is and in base64, in whatever place somebody put it. */
const tokens = /eyJ[\w=-]{8,}(?:\.[\w=-]*)*|ZXlK[\w+/=-]{8,}/g;
const credentials = /\b(bearer|basic|dpop|negotiate)[ +]+\S+/gi;

/** A text of a client's as it may be told: at most `max` characters, and nothing in it that looks like a token. */
export function tellText(text: string, max: number): string {
  const short = text.length > max ? `${text.slice(0, max)}...` : text;
  return short.replace(tokens, '[token]').replace(credentials, '$1 [secret]');
}

/** {@link tellText} of a header line that may be absent or empty. */
export function tellHeader(text: string | undefined, max: number): string | undefined {
  return text === undefined || text === '' ? undefined : tellText(text, max);
}

const requestId = /^[\w.:/+=@-]{1,128}$/;
const traceparent = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;

/** The ids of a request, where they have the form of ids. */
export function traceOf(header: (name: string) => string | undefined): AuditTrace {
  const id = header('x-request-id');
  const parent = header('traceparent');
  return {
    requestId: id !== undefined && requestId.test(id) ? tellText(id, 128) : undefined,
    traceparent: parent !== undefined && traceparent.test(parent) ? parent : undefined,
  };
}

/** A verified user as it may be told. */
export function tellUser(user: RequestIdentity, listed: readonly string[]): AuditUser {
  const claims: Record<string, AuditClaim> = {};
  for (const name of listed) {
    const claim = Object.hasOwn(user.claims, name) ? tellClaim(user.claims[name]) : undefined;
    if (claim !== undefined) claims[name] = claim;
  }
  return { issuer: user.issuer?.slice(0, maxClaim), subject: user.subject?.slice(0, maxClaim), claims };
}

function tellClaim(value: unknown): AuditClaim | undefined {
  if (Array.isArray(value)) return value.slice(0, maxItems).flatMap((item) => tellScalar(item) ?? []);
  return tellScalar(value);
}

function tellScalar(value: unknown): string | number | boolean | undefined {
  if (typeof value === 'string') return value.slice(0, maxClaim);
  return typeof value === 'number' || typeof value === 'boolean' ? value : undefined;
}

const nobody: readonly string[] = Object.freeze([]);

/**
 * Who carried a user here, the last to act first: those of a hop token where there is one, else those that the claim `act` of the user's own token names
 * (RFC 8693 section 4.1, as exchanged and transaction tokens have it).
 */
export function tellActors(user: RequestIdentity | undefined, carriers: readonly string[] | undefined): readonly string[] {
  if (carriers !== undefined && carriers.length > 0) return carriers;
  const actors = user !== undefined && Object.hasOwn(user.claims, 'act') ? parseActClaim(user.claims['act']) : undefined;
  return actors?.map((actor) => actor.slice(0, maxClaim)) ?? nobody;
}
