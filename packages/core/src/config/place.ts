import type { ErrorCode } from '../errors.js';
import { entryOf, type ConfigNode } from './node.js';
import type { Report } from './report.js';

/** A node of a document with the path to it: where readers take a value from, and where they report what is wrong with it. */
export interface Place {
  readonly node: ConfigNode;
  /** Such as `spec.rules[0].from[1].source`; empty for the document itself. */
  readonly path: string;
  readonly report: Report;
}

/** The place of the value of `key`, if the place is a map that has it. */
export function childOf(place: Place, key: string): Place | undefined {
  const entry = entryOf(place.node, key);
  return entry === undefined ? undefined : { node: entry.value, path: joinPath(place.path, key), report: place.report };
}

/** The place of item `index` of a list; the place itself where there is none. */
function itemOf(place: Place, index: number): Place {
  const item = place.node.kind === 'list' ? place.node.items[index] : undefined;
  return item === undefined ? place : { node: item, path: `${place.path}[${index}]`, report: place.report };
}

/** The place that a path of keys and indexes leads to, or the last one on the way that exists: where to point at. */
export function placeAt(place: Place, ...steps: readonly (string | number)[]): Place {
  let here = place;
  for (const step of steps) {
    const next = typeof step === 'number' ? itemOf(here, step) : childOf(here, step);
    if (next === undefined) return here;
    here = next;
  }
  return here;
}

/** Reports an error at a place. */
export function errorAt(place: Place, code: ErrorCode, message: string, hint?: string): undefined {
  place.report.error(place.node.offset, place.path, code, message, hint);
  return undefined;
}

/** Reports a warning at a place. */
export function warnAt(place: Place, code: ErrorCode, message: string, hint?: string): void {
  place.report.warn(place.node.offset, place.path, code, message, hint);
}

/** `path.key`, or `path["key"]` where the key is no plain word. */
export function joinPath(path: string, key: string): string {
  if (!/^[A-Za-z_][\w-]*$/.test(key)) return `${path}[${JSON.stringify(key.length > 80 ? `${key.slice(0, 77)}...` : key)}]`;
  return path === '' ? key : `${path}.${key}`;
}
