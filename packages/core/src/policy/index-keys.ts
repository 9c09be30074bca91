import type { KeyForm, Visit } from './index-dimension.js';

/** An attribute of the request by which rules can be found. The counters belong to whoever builds an index. */
export interface Dimension {
  readonly visit: Visit;
  /** How many rules this dimension would find well. */
  coverage: number;
}

/** Something that a request must say for a rule to match: a rule hangs on its keys. Equal keys are one object. */
export interface GuardKey {
  readonly dimension: Dimension;
  readonly path: readonly string[];
  readonly form: KeyForm;
  readonly text: string;
  /** How many rules of the set at hand have it, and which was the last one counted. */
  rules: number;
  counted: number;
}

/**
 * What must hold for a rule to match, as far as an index can look it up: one key, all of several guards (any one of them is enough to find the
 * rule) or one of several (all are needed). `all` of none says nothing: the rule must be tried on every request.
 */
export type Guard = GuardKey | { readonly all: readonly Guard[] } | { readonly any: readonly Guard[] };

/** Keys by form and text. */
type KeysByForm = Readonly<Record<KeyForm, Map<string, GuardKey>>>;

interface OwnDimension extends Dimension {
  readonly keys: KeysByForm;
  /** The same by path, where keys have one. */
  readonly members: Map<string, KeysByForm>;
}

const noKeys = (): KeysByForm => ({ exact: new Map(), prefix: new Map(), suffix: new Map() });
const noPath: readonly string[] = [];

/** Keys and dimensions by name: what is equal is one object, so that rules can be counted by it. */
export class KeyTable {
  readonly refuses: boolean;
  readonly #dimensions = new Map<string, OwnDimension>();

  constructor(refuses: boolean) {
    this.refuses = refuses;
  }

  dimension(name: string, visit: () => Visit): Dimension {
    let dimension = this.#dimensions.get(name);
    if (dimension === undefined) {
      dimension = { visit: visit(), coverage: 0, keys: noKeys(), members: new Map() };
      this.#dimensions.set(name, dimension);
    }
    return dimension;
  }

  /** A value in Istio's string syntax (istio-semantics 3.5). */
  text(dimension: Dimension, value: string, path: readonly string[] = noPath): Guard {
    if (value === '*') return this.key(dimension, 'prefix', '', path);
    if (value.startsWith('*')) return this.key(dimension, 'suffix', value.slice(1), path);
    if (value.endsWith('*')) return this.key(dimension, 'prefix', value.slice(0, -1), path);
    return this.key(dimension, 'exact', value, path);
  }

  key(dimension: Dimension, form: KeyForm, text: string, path: readonly string[] = noPath): GuardKey {
    const own = dimension as OwnDimension;
    const keys = path.length === 0 ? own.keys : this.#keysAt(own, path);
    let key = keys[form].get(text);
    if (key === undefined) {
      key = { dimension, path, form, text, rules: 0, counted: -1 };
      keys[form].set(text, key);
    }
    return key;
  }

  #keysAt({ members }: OwnDimension, path: readonly string[]): KeysByForm {
    // No name of a claim contains this text: parseBrackets() splits at it.
    const name = path.join('][');
    let keys = members.get(name);
    if (keys === undefined) members.set(name, (keys = noKeys()));
    return keys;
  }
}
