import type { Collect, Visit } from './index-dimension.js';

/** How a key of the index stands to a text of the request: `exact` is the text, `prefix` begins it, `suffix` ends it. */
export type KeyForm = 'exact' | 'prefix' | 'suffix';

/** How an index looks an attribute up: anew for each request, or, for what the peer's identity alone tells, once per peer. */
export type Lookup = { readonly visit: Visit } | { readonly collect: Collect };

/** An attribute of the request by which rules can be found. The counter belongs to whoever builds an index. */
export interface Dimension {
  readonly lookup: Lookup;
  /** How many rules this dimension would find well. */
  coverage: number;
}

/** Something that a request must say; `path` are the names of nested claims. */
export interface Key {
  readonly path: readonly string[];
  readonly form: KeyForm;
  readonly text: string;
}

/** Numbers of keys by form and text. */
type KeysByForm = Readonly<Record<KeyForm, Map<string, number>>>;

interface OwnDimension extends Dimension {
  readonly keys: KeysByForm;
  /** The same by path, where keys have one. */
  readonly members: Map<string, KeysByForm>;
}

const noKeys = (): KeysByForm => ({ exact: new Map(), prefix: new Map(), suffix: new Map() });
const noPath: readonly string[] = [];

/**
 * All that rules need of a request, as keys: something that the request must say for a rule to match. Equal keys have one number, so that
 * rules can be counted by it. Numbers instead of objects, because tens of thousands of short-lived
 * objects cost the garbage collector more than the whole index costs to build.
 */
export interface KeyTable {
  /** True where a match refuses: paths are then looked up in every spelling. */
  readonly refuses: boolean;
  readonly dimensions: readonly Dimension[];
  /** What the key of a number stands for. */
  at(key: number): Key;
  /** The dimension of a name; `lookup` makes it when it is new. */
  dimension(name: string, lookup: () => Lookup): Dimension;
  /** The number of a key. */
  key(dimension: Dimension, form: KeyForm, text: string, path?: readonly string[]): number;
}

/** Creates an empty table of keys, one per index. */
export function createKeyTable(refuses: boolean): KeyTable {
  const byName = new Map<string, OwnDimension>();
  const dimensions: Dimension[] = [];
  const paths: (readonly string[])[] = [];
  const forms: KeyForm[] = [];
  const texts: string[] = [];
  return {
    refuses,
    dimensions,
    at: (key) => ({ path: paths[key] as readonly string[], form: forms[key] as KeyForm, text: texts[key] as string }),
    dimension(name, lookup) {
      let dimension = byName.get(name);
      if (dimension === undefined) {
        dimension = { lookup: lookup(), coverage: 0, keys: noKeys(), members: new Map() };
        byName.set(name, dimension);
      }
      return dimension;
    },
    key(dimension, form, text, path = noPath) {
      const own = dimension as OwnDimension;
      const keys = (path.length === 0 ? own.keys : keysAt(own, path))[form];
      let key = keys.get(text);
      if (key === undefined) {
        key = texts.length;
        keys.set(text, key);
        dimensions.push(dimension);
        paths.push(path);
        forms.push(form);
        texts.push(text);
      }
      return key;
    },
  };
}

function keysAt({ members }: OwnDimension, path: readonly string[]): KeysByForm {
  // No name of a claim contains this text: parseBrackets() splits at it.
  const name = path.length === 1 ? (path[0] as string) : path.join('][');
  let keys = members.get(name);
  if (keys === undefined) members.set(name, (keys = noKeys()));
  return keys;
}
