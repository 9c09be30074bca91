import { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { canonicalName, isForged, type StripTable } from '../propagation/strip.js';
import type { AddedHeader } from '../propagation/payload-header.js';

/** What the door changed in a request's headers. Every reader sees it applied: `headers`, `rawHeaders`, `headersDistinct`, and trailers. */
export interface HeaderEdits {
  /** Lower-case names whose lines all disappear. */
  readonly removed: readonly string[];
  readonly joined: ReadonlyMap<string, string> | undefined;
  readonly added: readonly AddedHeader[];
  readonly strip: StripTable;
}

const raw = Symbol('enmesh.rawHeaders');
const rawTrailers = Symbol('enmesh.rawTrailers');
const edits = Symbol('enmesh.edits');

interface Door {
  [raw]?: string[];
  [rawTrailers]?: string[];
  [edits]?: HeaderEdits | undefined;
}

/**
 * The accessors that make readers of raw headers see what was judged, building the list only when one reads it.
 * They stand on {@link DoorRequest}, and on the request prototypes that Express puts in its place.
 */
const accessors: PropertyDescriptorMap & ThisType<IncomingMessage & Door> = {
  rawHeaders: {
    configurable: true,
    get() {
      return judgedHeaders(this);
    },
    // Node's parser assigns the list, and its constructor an empty one before that.
    set(list: string[]) {
      this[raw] = list;
    },
  },
  headersDistinct: {
    configurable: true,
    get() {
      return distinct(judgedHeaders(this));
    },
  },
  rawTrailers: {
    configurable: true,
    get() {
      return judgedTrailers(this);
    },
    set(list: string[]) {
      this[rawTrailers] = list;
    },
  },
  trailers: {
    configurable: true,
    get() {
      const out: Record<string, string> = {};
      for (const [name, values] of Object.entries(distinct(judgedTrailers(this)))) out[name] = values.join(', ');
      return out;
    },
    set() {},
  },
  trailersDistinct: {
    configurable: true,
    get() {
      return distinct(judgedTrailers(this));
    },
  },
};

/** The class of requests at the door: `http.createServer({ IncomingMessage: DoorRequest })`. */
export class DoorRequest extends IncomingMessage {
  constructor(socket: Socket) {
    super(socket);
    (this as Door)[edits] = undefined;
  }
}
Object.defineProperties(DoorRequest.prototype, accessors);

/** Puts the door's accessors on a prototype that will replace {@link DoorRequest}'s, such as an Express application's `app.request`. */
export function installDoorAccessors(prototype: object): void {
  if (Object.getOwnPropertyDescriptor(prototype, 'rawHeaders')?.get !== accessors.rawHeaders?.get)
    Object.defineProperties(prototype, accessors);
}

/**
 * Creates the function that is told of each request after its listener has run, and keeps the accessors on requests whose prototype a framework
 * replaced inside a listener that hides it (`(request, response) => app(request, response)`).
 */
export function createPrototypeFollower(): (request: IncomingMessage) => void {
  let known: object = DoorRequest.prototype;
  return (request) => {
    const prototype = Object.getPrototypeOf(request) as object;
    if (prototype === known || !Object.hasOwn(request, raw) || prototype === IncomingMessage.prototype) return;
    known = prototype;
    installDoorAccessors(prototype);
  };
}

/** Puts the accessors on one request itself, for as long as it is not known which prototype it will get. */
export function pinDoorAccessors(request: IncomingMessage): void {
  if (Object.hasOwn(request, raw)) Object.defineProperties(request, accessors);
}

/** The header list exactly as the client sent it: for the door, which judges it. */
export function sentHeaders(request: IncomingMessage): readonly string[] {
  return (request as Door)[raw] ?? request.rawHeaders;
}

/** Applies what the door decided: `headers` in place, the raw readers when they are first read. */
export function applyEdits(request: IncomingMessage, changes: HeaderEdits): void {
  const { headers } = request;
  for (let i = 0; i < changes.removed.length; i++) delete headers[changes.removed[i] as string];
  if (changes.joined !== undefined) for (const [name, value] of changes.joined) if (name in headers) headers[name] = value;
  for (let i = 0; i < changes.added.length; i++) {
    const [name, value] = changes.added[i] as AddedHeader;
    const before = headers[name];
    headers[name] = before === undefined ? value : `${Array.isArray(before) ? before.join(', ') : before}, ${value}`;
  }
  const door = request as Door;
  if (raw in door) door[edits] = changes;
  else applyEagerly(request, changes);
}

/** For requests of somebody else's server (the middleware form): their raw lists are plain properties, so they are rewritten at once. */
function applyEagerly(request: IncomingMessage, changes: HeaderEdits): void {
  const list = editHeaders(request.rawHeaders, changes);
  request.rawHeaders = list;
  // The trailers come later; a filter on the instance judges them when they are read.
  const door = request as Door & IncomingMessage;
  door[raw] = list;
  door[edits] = { ...changes, removed: [], joined: undefined, added: [] };
  Object.defineProperties(request, accessors);
}

function judgedHeaders(request: Door): string[] {
  const list = request[raw] ?? [];
  const changes = request[edits];
  if (changes === undefined) return list;
  const judged = editHeaders(list, changes);
  request[raw] = judged;
  request[edits] = { ...changes, removed: [], joined: undefined, added: [] };
  return judged;
}

function editHeaders(list: readonly string[], changes: HeaderEdits): string[] {
  const out: string[] = [];
  const written = new Set<string>();
  for (let i = 0; i < list.length; i += 2) {
    const name = list[i] as string;
    const lower = name.toLowerCase();
    if (changes.removed.includes(lower)) continue;
    const joined = changes.joined?.get(lower);
    if (joined === undefined) out.push(name, list[i + 1] as string);
    else if (!written.has(lower)) out.push(name, joined);
    written.add(lower);
  }
  for (const [name, value] of changes.added) out.push(name, value);
  return out;
}

function judgedTrailers(request: Door): string[] {
  const list = request[rawTrailers] ?? [];
  const changes = request[edits];
  if (list.length === 0 || changes === undefined) return list;
  const out: string[] = [];
  for (let i = 0; i < list.length; i += 2) {
    const canonical = canonicalName(list[i] as string);
    if (isForged(changes.strip, canonical) || canonical === 'x-forwarded-client-cert' || canonical === 'authorization') continue;
    out.push(list[i] as string, list[i + 1] as string);
  }
  return out;
}

/** Values by lower-case name. Without a prototype, so that a header called `__proto__` is only a name (CVE-2026-21710). */
function distinct(list: readonly string[]): Record<string, string[]> {
  const out: Record<string, string[]> = Object.create(null) as Record<string, string[]>;
  for (let i = 0; i < list.length; i += 2) {
    const name = (list[i] as string).toLowerCase();
    const values = out[name];
    if (values === undefined) out[name] = [list[i + 1] as string];
    else values.push(list[i + 1] as string);
  }
  return out;
}
