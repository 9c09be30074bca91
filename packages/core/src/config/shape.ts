import { homeHint } from './field-homes.js';
import { describeNode, type MapEntry, type ScalarNode } from './node.js';
import { errorAt, joinPath, type Place } from './place.js';
import { quote } from './problem.js';
import { nearest, spellingHint } from './spelling.js';
import { kubernetesReading } from './yaml-traps.js';

/**
 * Reads a value of one form at a place, reporting everything that is wrong below it; undefined when the value itself cannot be used.
 * Codes: `ENMESH_CONFIG_VALUE_INVALID`, `ENMESH_CONFIG_FIELD_UNKNOWN`.
 */
export type Shape<T> = (place: Place) => T | undefined;

/** Bounds of a text, in characters, and of a list or map, in items. */
export interface Bounds {
  readonly min?: number;
  readonly max?: number;
}

/** Reports that a value is not what it should be. */
export function invalidAt(place: Place, message: string, hint?: string): undefined {
  return errorAt(place, 'ENMESH_CONFIG_VALUE_INVALID', message, hint);
}

/** A string. Numbers, booleans and null are refused, and so is an unquoted word that Kubernetes reads as one of them. */
export function text(bounds: Bounds = {}): Shape<string> {
  return (place) => {
    const node = place.node;
    if (node.kind !== 'scalar' || typeof node.value !== 'string') return refuseScalar(place);
    const trap = node.plain === undefined ? undefined : kubernetesReading(node.plain);
    if (trap !== undefined)
      return invalidAt(
        place,
        `Kubernetes reads the unquoted ${quote(node.value)} as ${trap}, not as a string`,
        'put it in quotes',
      );
    if (node.value.length < (bounds.min ?? 0)) return invalidAt(place, 'must not be empty');
    if (node.value.length > (bounds.max ?? Infinity)) return invalidAt(place, `must not be longer than ${bounds.max} characters`);
    return node.value;
  };
}

function refuseScalar(place: Place): undefined {
  const isNumber = place.node.kind === 'scalar' && place.node.value !== null && typeof place.node.value !== 'string';
  return invalidAt(place, `must be a string, not ${describeNode(place.node)}`, isNumber ? 'put it in quotes' : undefined);
}

/** One of the words of an enum, spelt exactly. */
export function oneOf<const T extends string>(...words: readonly T[]): Shape<T> {
  return (place) => {
    const { node } = place;
    if (node.kind !== 'scalar' || typeof node.value !== 'string')
      return invalidAt(place, `must be one of ${words.join(', ')}, not ${describeNode(node)}`);
    const value = node.value;
    const found = words.find((word) => word === value);
    if (found !== undefined) return found;
    const near = nearest(value, words);
    return invalidAt(place, `must be one of ${words.join(', ')}`, near === undefined ? undefined : `did you mean ${near}?`);
  };
}

/** A whole number between two bounds, both included. */
export function integer(min: number, max: number): Shape<number> {
  return (place) => {
    const { node } = place;
    if (node.kind !== 'scalar' || typeof node.value !== 'number' || !Number.isInteger(node.value)) {
      return invalidAt(
        place,
        `must be a whole number, not ${describeNode(node)}`,
        isQuotedNumber(node) ? 'remove the quotes' : undefined,
      );
    }
    const trap = node.plain === undefined ? undefined : kubernetesReading(node.plain);
    if (trap !== undefined)
      return invalidAt(
        place,
        `Kubernetes reads ${quote(node.plain!)} as ${trap}`,
        'write it without leading zeros and underscores',
      );
    if (node.value < min || node.value > max) return invalidAt(place, `must be between ${min} and ${max}`);
    return node.value;
  };
}

function isQuotedNumber(node: Place['node']): boolean {
  return node.kind === 'scalar' && typeof node.value === 'string' && node.plain === undefined && /^[0-9]+$/.test(node.value);
}

/** Any finite number between two bounds. */
export function decimal(min: number, max: number): Shape<number> {
  return (place) => {
    const value = (place.node as Partial<ScalarNode>).value;
    if (typeof value !== 'number' || !Number.isFinite(value))
      return invalidAt(place, `must be a number, not ${describeNode(place.node)}`);
    return value < min || value > max ? invalidAt(place, `must be between ${min} and ${max}`) : value;
  };
}

/** `true` or `false`. */
export const flag: Shape<boolean> = (place) => {
  const value = (place.node as Partial<ScalarNode>).value;
  return typeof value === 'boolean' ? value : invalidAt(place, `must be true or false, not ${describeNode(place.node)}`);
};

/** A list whose items all have one shape; items that have not are reported and left out. */
export function listOf<T>(item: Shape<T>, bounds: Bounds = {}): Shape<readonly T[]> {
  return (place) => {
    const node = place.node;
    if (node.kind !== 'list') return invalidAt(place, `must be a list, not ${describeNode(node)}`, listHint(node));
    checkCount(place, node.items.length, bounds);
    const values: T[] = [];
    node.items.forEach((one, index) => {
      const value = item({ node: one, path: `${place.path}[${index}]`, report: place.report });
      if (value !== undefined) values.push(value);
    });
    return values;
  };
}

function listHint(node: Place['node']): string | undefined {
  if (node.kind === 'map') return 'begin each entry with "- "';
  return node.kind === 'scalar' && node.value !== null ? 'put it in [ ]' : undefined;
}

/** An empty value is mostly one whose fields stand too far to the left, and a list one that was begun with a dash. */
function mapHint({ node }: Place): string | undefined {
  if (node.kind === 'list') return 'remove the "- " before its fields';
  return node.kind === 'scalar' && node.value === null ? 'its fields must be indented further than itself' : undefined;
}

/** A map from keys of the writer's choice to values of one shape. `checkKey` may report at the entry's key. */
export function mapOf<T>(
  item: Shape<T>,
  bounds: Bounds = {},
  checkKey?: (key: string, place: Place) => void,
): Shape<Readonly<Record<string, T>>> {
  return (place) => {
    const node = place.node;
    if (node.kind !== 'map') return invalidAt(place, `must be a map, not ${describeNode(node)}`, mapHint(place));
    checkCount(place, node.entries.length, bounds);
    const values: Record<string, T> = {};
    for (const entry of node.entries) {
      const at = placeOf(place, entry);
      checkKey?.(entry.key, { ...at, node: { ...at.node, offset: entry.keyOffset } });
      const value = item(at);
      if (value !== undefined) values[entry.key] = value;
    }
    return values;
  };
}

function checkCount(place: Place, count: number, { min = 0, max = Infinity }: Bounds): void {
  if (count < min) invalidAt(place, min === 1 ? 'must not be empty' : `must have at least ${min} entries`);
  if (count > max) invalidAt(place, `has ${count} entries; at most ${max} are allowed`);
}

function placeOf(place: Place, entry: MapEntry): Place {
  return { node: entry.value, path: joinPath(place.path, entry.key), report: place.report };
}

/** The shape of each field of `T`. */
export type FieldShapes<T> = { readonly [K in keyof T]-?: Shape<Exclude<T[K], undefined>> };

/** `open`: unknown fields are passed over, and null counts as absent (Kubernetes' own objects). `aliases`: other accepted names of fields. */
export interface RecordOptions<T> {
  readonly required?: readonly (keyof T & string)[];
  readonly passedOver?: readonly string[];
  readonly aliases?: Readonly<Record<string, keyof T & string>>;
  readonly open?: boolean;
}

/**
 * A map with known fields. Unknown ones are errors that name the nearest known one; those in `passedOver` are known and not read.
 * Undefined when a required field is missing or invalid.
 */
export function record<T extends object>(fields: FieldShapes<T>, options: RecordOptions<T> = {}): Shape<T> {
  const known = [...Object.keys(fields), ...(options.passedOver ?? [])];
  const passedOver = new Set(options.passedOver);
  const aliases = new Map<string, string>(Object.entries(options.aliases ?? {}));
  return (place) => {
    const node = place.node;
    if (node.kind !== 'map') return invalidAt(place, `must be a map, not ${describeNode(node)}`, mapHint(place));
    const values: Record<string, unknown> = {};
    const seen = new Set<string>();
    for (const entry of node.entries) {
      const name = aliases.get(entry.key) ?? entry.key;
      if (!Object.hasOwn(fields, name)) {
        if (options.open !== true && !passedOver.has(name)) refuseField(place, entry, known);
        continue;
      }
      if (seen.has(name)) invalidAt(placeOf(place, entry), `is ${quote(name)} under another name, and both are given`);
      if (options.open === true && entry.value.kind === 'scalar' && entry.value.value === null) continue;
      seen.add(name);
      const value = (fields as Record<string, Shape<unknown>>)[name]!(placeOf(place, entry));
      if (value !== undefined) values[name] = value;
    }
    const required = options.required ?? [];
    for (const name of required) if (!seen.has(name)) invalidAt(place, `lacks ${quote(name)}`);
    return required.every((name) => values[name] !== undefined) ? (values as T) : undefined;
  };
}

function refuseField(place: Place, entry: MapEntry, known: readonly string[]): void {
  place.report.error(
    entry.keyOffset,
    joinPath(place.path, entry.key),
    'ENMESH_CONFIG_FIELD_UNKNOWN',
    `there is no field ${quote(entry.key)} here`,
    // A field that is right elsewhere is indented wrongly, unless one that is known here differs by case only.
    known.some((one) => one.toLowerCase() === entry.key.toLowerCase())
      ? spellingHint(entry.key, known)
      : (homeHint(entry.key) ?? spellingHint(entry.key, known)),
  );
}

/** A shape that also looks at the value as a whole. */
export function refined<T>(shape: Shape<T>, check: (value: T, place: Place) => void): Shape<T> {
  return (place) => {
    const value = shape(place);
    if (value !== undefined) check(value, place);
    return value;
  };
}

/** A shape for which null means absent. */
export function nullable<T>(shape: Shape<T>): Shape<T> {
  return (place) => (place.node.kind === 'scalar' && place.node.value === null ? undefined : shape(place));
}
