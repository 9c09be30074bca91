import { joinedHeaders } from '../request/header-lines.js';
import { canonicalName, isForged, type StripTable } from '../propagation/strip.js';

/** What one pass over the raw header list found to be done. Absent members mean that nothing is. */
export interface HeaderScan {
  /** Why the request is refused with 400: which header makes it ambiguous. */
  readonly problem: string | undefined;
  /** Lower-case names whose lines all disappear: forged, named by `Connection`, or a TE without `trailers`. */
  readonly removed: ReadonlySet<string> | undefined;
  /** Lower-case names whose lines become one, with its value: those that Istio joins, and a TE that says more than `trailers`. */
  readonly joined: ReadonlyMap<string, string> | undefined;
}

const nothingToDo: HeaderScan = { problem: undefined, removed: undefined, joined: undefined };

/** A line's fingerprint, the same for every spelling of its name: length, first and last letter. */
function fingerprint(name: string): number {
  const length = name.length;
  return (length * 31 + (name.charCodeAt(0) | 0x20) * 7 + (name.charCodeAt(length - 1) | 0x20) * 3) & 0xff;
}

/** The spellings of a name that differ in what the fingerprint reads: `-` or `_` at its ends. */
function edgeSpellings(name: string): string[] {
  const starts = [name, name.replace(/^-/, '_')];
  return starts.flatMap((start) => [start, start.replace(/-$/, '_')]);
}

/** Headers that may stand in a request once only, because frameworks read different ones of several. */
const onlyOnce = ['host', 'authorization'];

/** Never removed because `Connection` names them: an accepted upgrade needs them, and TE is judged by itself. */
const connectionItself = new Set(['close', 'keep-alive', 'upgrade', 'te', 'http2-settings', '']);

/**
 * The scanner of a snapshot. Most lines are passed over after three character reads: only a name whose fingerprint could be one of the
 * protected ones, or that may stand twice, is looked at in full. The client's own
 * x-forwarded-client-cert always goes: what the handler may see of it is written by `istioHeaders`.
 */
export function compileHeaderScan(strip: StripTable): (raw: readonly string[], connection: string | undefined) => HeaderScan {
  const suspicious = new Uint8Array(256);
  for (const name of [...strip.names, 'x-forwarded-client-cert', 'te'])
    for (const spelt of edgeSpellings(name)) suspicious[fingerprint(spelt)] = 1;
  const seen = new Uint32Array(256);
  let pass = 0;
  return (raw, connection) => {
    pass = (pass + 1) >>> 0;
    if (pass === 0) {
      seen.fill(0);
      pass = 1;
    }
    let closer = connection !== undefined && connection !== 'keep-alive' && connection !== 'close';
    for (let i = 0; i < raw.length && !closer; i += 2) {
      const name = raw[i] as string;
      const mark = fingerprint(name);
      const first = name.charCodeAt(0) | 0x20;
      closer = seen[mark] === pass || suspicious[mark] === 1 || (first === 0x78 && name.length > 9 && isOwnPrefix(name));
      seen[mark] = pass;
    }
    return closer ? scanClosely(strip, raw, connection) : nothingToDo;
  };
}

/** `x-enmesh-` in any spelling, without allocating: the letters that tell it from other `x-` names. */
function isOwnPrefix(name: string): boolean {
  return (name.charCodeAt(2) | 0x20) === 0x65 && (name.charCodeAt(3) | 0x20) === 0x6e && (name.charCodeAt(4) | 0x20) === 0x6d;
}

/** The slow and exact pass, for the few requests that have something to look at. */
function scanClosely(strip: StripTable, raw: readonly string[], connection: string | undefined): HeaderScan {
  const lines = new Map<string, string[]>();
  const removed = new Set<string>();
  for (let i = 0; i < raw.length; i += 2) {
    const name = (raw[i] as string).toLowerCase();
    const values = lines.get(name);
    if (values === undefined) lines.set(name, [raw[i + 1] as string]);
    else values.push(raw[i + 1] as string);
    const canonical = canonicalName(name);
    if (isForged(strip, canonical) || canonical === 'x-forwarded-client-cert') removed.add(name);
  }
  for (const name of onlyOnce)
    if ((lines.get(name)?.length ?? 0) > 1) return { ...nothingToDo, problem: `${name} stands in the request twice` };
  const problem = connection === undefined ? undefined : nominate(strip, lines, removed);
  if (problem !== undefined) return { ...nothingToDo, problem };
  const joined = new Map<string, string>();
  for (const [name, values] of lines) {
    if (values.length > 1 && joinedHeaders.has(name) && !removed.has(name))
      joined.set(name, values.filter((value) => value !== '').join(','));
  }
  reduceTe(lines.get('te'), removed, joined);
  return { problem: undefined, removed: removed.size > 0 ? removed : undefined, joined: joined.size > 0 ? joined : undefined };
}

/** TE speaks of this hop, but for `trailers`: that is all Envoy leaves of it (istio-semantics 3.9). */
function reduceTe(values: readonly string[] | undefined, removed: Set<string>, joined: Map<string, string>): void {
  if (values === undefined || (values.length === 1 && values[0] === 'trailers')) return;
  const isKept = values.some((value) => value.split(',').some((item) => item.trim() === 'trailers'));
  if (isKept) joined.set('te', 'trailers');
  else removed.add('te');
}

/** Headers that `Connection` names belong to this hop and disappear, as in Envoy; naming a protected one is an attack (security.md T6). */
function nominate(strip: StripTable, lines: ReadonlyMap<string, readonly string[]>, removed: Set<string>): string | undefined {
  for (const value of lines.get('connection') ?? []) {
    // A line may name one header thousands of times.
    for (const item of new Set(value.toLowerCase().split(','))) {
      const name = item.trim();
      if (connectionItself.has(name)) continue;
      const canonical = canonicalName(name);
      if (isForged(strip, canonical) || canonical === 'x-forwarded-client-cert' || onlyOnce.includes(name))
        return `Connection names the protected header ${canonical}`;
      if (lines.has(name)) removed.add(name);
    }
  }
  return undefined;
}
