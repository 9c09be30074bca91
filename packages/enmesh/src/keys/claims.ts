import { MisuseError } from '../output.js';

/** What a token says, as flags of the command line give it. */
export interface ClaimFlags {
  readonly issuer?: string;
  readonly subject?: string;
  readonly audience?: readonly string[];
  readonly claim?: readonly string[];
  readonly expires: string;
  readonly notBefore?: string;
}

/**
 * The claims of a token issued at `now` (ms). `--claim name=value` takes a JSON value, else text; dots are part of the name. `exp` and `nbf` are durations
 * from now (`1h`, `-5m`). A claim that is given twice, or a value that cannot be read, is a `MisuseError`.
 */
export function claimsOf(flags: ClaimFlags, now: number): Readonly<Record<string, unknown>> {
  const iat = Math.floor(now / 1000);
  const claims = new Map<string, unknown>();
  const set = (name: string, value: unknown): void => {
    if (claims.has(name)) throw new MisuseError(`the claim ${name} is given twice`);
    claims.set(name, value);
  };
  const audience = flags.audience ?? [];
  if (flags.issuer !== undefined) set('iss', flags.issuer);
  if (flags.subject !== undefined) set('sub', flags.subject);
  if (audience.length > 0) set('aud', audience.length === 1 ? audience[0] : audience);
  for (const text of flags.claim ?? []) {
    const at = text.indexOf('=');
    if (at < 1) throw new MisuseError(`--claim ${text} must be name=value`);
    set(text.slice(0, at), valueOf(text.slice(at + 1)));
  }
  if (!claims.has('iat')) set('iat', iat);
  if (flags.notBefore !== undefined) set('nbf', iat + parseDuration(flags.notBefore, '--not-before'));
  if (!claims.has('exp') && flags.expires !== 'never') set('exp', iat + parseDuration(flags.expires, '--expires'));
  return Object.fromEntries(claims);
}

function valueOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

const unitSeconds: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };

/** Seconds of a duration such as `90s`, `15m`, `1h`, `7d`; a minus sign goes into the past. */
export function parseDuration(text: string, flag: string): number {
  const [, sign, number, unit] = /^(-?)(\d{1,9})([smhd])$/.exec(text) ?? [];
  if (number === undefined || unit === undefined)
    throw new MisuseError(`${flag} ${text} must be a duration such as 90s, 15m, 1h or 7d`);
  return Number(number) * unitSeconds[unit]! * (sign === '-' ? -1 : 1);
}
