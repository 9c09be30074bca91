/** A YAML document as the validators read it: three shapes, each knowing the offset in its file where it begins. */
export type ConfigNode = ScalarNode | ListNode | MapNode;

/**
 * A scalar by YAML 1.2's core schema. `plain` is its text as it stands in the file where it was written without quotes, tag or block style:
 * only such a scalar can be read otherwise by Kubernetes (see yaml-traps.ts).
 */
export interface ScalarNode {
  readonly kind: 'scalar';
  readonly offset: number;
  readonly value: string | number | boolean | null;
  readonly plain: string | undefined;
}

export interface ListNode {
  readonly kind: 'list';
  readonly offset: number;
  readonly items: readonly ConfigNode[];
}

/** A map; its keys are distinct, and a key written as a number is its decimal text. */
export interface MapNode {
  readonly kind: 'map';
  readonly offset: number;
  readonly entries: readonly MapEntry[];
}

export interface MapEntry {
  readonly key: string;
  readonly keyOffset: number;
  readonly value: ConfigNode;
}

/** The entry of `node` named `key`, if `node` is a map that has one. */
export function entryOf(node: ConfigNode, key: string): MapEntry | undefined {
  return node.kind === 'map' ? node.entries.find((entry) => entry.key === key) : undefined;
}

/** What kind of value a node is, in the words of messages. */
export function describeNode(node: ConfigNode): string {
  if (node.kind !== 'scalar') return node.kind === 'list' ? 'a list' : 'a map';
  if (node.value === null) return 'null';
  return typeof node.value === 'string' ? 'a string' : `a ${typeof node.value}`;
}
