import { stringify, type ParsedUrlQueryInput } from 'node:querystring';
import type { Dispatcher } from 'undici';
import { guardedBodyBytes } from '../propagation/egress-guard.js';
import type { CallChecks } from './guard-call.js';

type Pair = readonly [name: string, value: unknown];

/**
 * The options of an undici call as they may go: without what the egress guard takes out, with the transaction token that passes on. The same object when there is
 * nothing to do. An iterable of headers is read, because it may end after the first reading. Throws `ENMESH_PROPAGATION_EGRESS`.
 */
export function checkDispatch({ guard, passing }: CallChecks, options: Dispatcher.DispatchOptions): Dispatcher.DispatchOptions {
  const { headers, query } = options;
  const isOnce = headers !== null && typeof headers === 'object' && !Array.isArray(headers) && Symbol.iterator in headers;
  const given = pairsOf(headers);
  // The application's own copy of it gives way to ours.
  const pairs = passing === undefined ? given : given.filter(([name]) => name.toLowerCase() !== passing[0]);
  const path = query === undefined ? String(options.path) : `${String(options.path)}?${stringify(query as ParsedUrlQueryInput)}`;
  const found = guard?.inspect({ path, headers: pairs });
  const more = passing === undefined ? [] : [passing];
  let sent = options;
  if (found !== undefined) {
    const kept: Pair[] = pairs.filter(([name]) => !found.without.has(name.toLowerCase()));
    if (found.cookie !== undefined) kept.push(['cookie', found.cookie]);
    sent = { ...sent, path: found.path, headers: flat([...kept, ...more]) };
    delete sent.query;
  } else if (isOnce || more.length > 0) sent = { ...sent, headers: flat([...pairs, ...more]) };
  return guard?.checkBody === undefined ? sent : withCheckedBody(sent, guard.checkBody);
}

/** A flat list; the values of a list stay together, as undici takes them. */
const flat = (pairs: readonly Pair[]): string[] => pairs.flatMap((pair) => [...pair]) as string[];

function pairsOf(headers: unknown): Pair[] {
  if (headers === null || headers === undefined || typeof headers !== 'object') return [];
  if (Array.isArray(headers)) {
    const pairs: Pair[] = [];
    for (let i = 0; i < headers.length; i += 2) pairs.push([String(headers[i]), headers[i + 1] as unknown]);
    return pairs;
  }
  const entries = Symbol.iterator in headers ? (headers as Iterable<Pair>) : Object.entries(headers);
  return [...entries].map(([name, value]) => [String(name), value]);
}

type Check = (start: Uint8Array | string) => void;

/** A text or buffer is looked at now; what is produced later, before its first piece goes out. Blobs and files pass. */
function withCheckedBody(options: Dispatcher.DispatchOptions, check: Check): Dispatcher.DispatchOptions {
  const body = options.body as unknown;
  if (typeof body === 'string' || body instanceof Uint8Array) check(body);
  else if (body instanceof URLSearchParams) check(body.toString());
  else if (isForm(body)) {
    for (const [name, value] of body) check(`${name}=${typeof value === 'string' ? value : ''}`);
  } else if (isAsyncIterable(body)) return { ...options, body: checkedStart(body, check) as never };
  return options;
}

const isAsyncIterable = (body: unknown): body is AsyncIterable<Uint8Array | string> =>
  typeof body === 'object' && body !== null && Symbol.asyncIterator in body;

function isForm(body: unknown): body is Iterable<[string, unknown]> {
  const tag = typeof body === 'object' && body !== null ? (body as { [Symbol.toStringTag]?: unknown })[Symbol.toStringTag] : '';
  return tag === 'FormData';
}

async function* checkedStart(body: AsyncIterable<Uint8Array | string>, check: Check): AsyncGenerator<Uint8Array | string> {
  let held: Buffer[] | undefined = [];
  let size = 0;
  for await (const chunk of body) {
    if (held === undefined) {
      yield chunk;
      continue;
    }
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    held.push(bytes);
    size += bytes.length;
    if (size < guardedBodyBytes) continue;
    const start = Buffer.concat(held);
    held = undefined;
    check(start);
    yield start;
  }
  if (held === undefined || size === 0) return;
  const all = Buffer.concat(held);
  check(all);
  yield all;
}
