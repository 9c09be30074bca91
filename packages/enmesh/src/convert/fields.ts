/** Why one legacy document cannot be told in today's kinds; `message` is a sentence for its author, `path` the place inside the document. */
export class RefusedError extends Error {
  override readonly name = 'RefusedError';
  readonly path: string;

  constructor(path: string, message: string) {
    super(message);
    this.path = path;
  }
}

/** One map of a legacy document. Names are camelCase; the snake_case that these kinds also took is read too. Absent and null are the same. */
export interface Fields {
  readonly path: string;
  has(name: string): boolean;
  text(name: string): string | undefined;
  flag(name: string): boolean;
  /** A list of strings; undefined when absent or empty, which the legacy kinds read alike. */
  texts(name: string): readonly string[] | undefined;
  /** A list of maps, each with the fields of `known`. */
  each(name: string, known: readonly string[]): readonly Fields[];
  /** A map from strings to strings, such as labels. */
  entries(name: string): readonly (readonly [string, string])[];
  map(name: string, known: readonly string[]): Fields | undefined;
}

/**
 * Reads a map strictly: a field that is not in `known`, or a value of another type, is a {@link RefusedError}, because what is not understood may be what
 * the policy is about.
 */
export function readFields(value: unknown, path: string, known: readonly string[]): Fields {
  const map = mapAt(value, path);
  for (const key of Object.keys(map)) {
    if (!known.some((name) => name === key || snake(name) === key)) {
      throw new RefusedError(join(path, key), 'this field is not known, so what it means cannot be kept');
    }
  }
  const get = (name: string): unknown => map[name] ?? map[snake(name)] ?? undefined;
  const at = (name: string): string => join(path, name);
  const list = (name: string): readonly unknown[] => {
    const found = get(name) ?? [];
    if (!Array.isArray(found)) throw new RefusedError(at(name), 'must be a list');
    return found;
  };
  return {
    path,
    has: (name) => get(name) !== undefined,
    text: (name) => textAt(get(name), at(name)),
    flag: (name) => flagAt(get(name), at(name)),
    texts(name) {
      const found = list(name).map((item, index) => textAt(item ?? '', `${at(name)}[${index}]`)!);
      return found.length === 0 ? undefined : found;
    },
    each: (name, fields) => list(name).map((item, index) => readFields(item, `${at(name)}[${index}]`, fields)),
    entries: (name) =>
      Object.entries(mapAt(get(name), at(name))).map(([key, one]) => [key, textAt(one ?? '', join(at(name), key))!] as const),
    map: (name, fields) => (get(name) === undefined && !(name in map) ? undefined : readFields(get(name), at(name), fields)),
  };
}

function mapAt(value: unknown, path: string): Readonly<Record<string, unknown>> {
  if (value === undefined || value === null) return {};
  if (typeof value !== 'object' || Array.isArray(value)) throw new RefusedError(path, 'must be a map');
  return value as Record<string, unknown>;
}

function textAt(value: unknown, path: string): string | undefined {
  if (value === undefined) return undefined;
  if (typeof value === 'string') return value;
  if (typeof value === 'number') return String(value);
  throw new RefusedError(path, 'must be a string');
}

function flagAt(value: unknown, path: string): boolean {
  if (value === undefined) return false;
  if (typeof value !== 'boolean') throw new RefusedError(path, 'must be true or false');
  return value;
}

function snake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function join(path: string, key: string): string {
  return path === '' ? key : `${path}.${key}`;
}
