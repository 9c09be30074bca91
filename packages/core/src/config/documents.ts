import { isAlias, isMap, isScalar, isSeq, type Document, type Node, type Pair, type Scalar, type YAMLError } from 'yaml';
import type { ConfigNode, MapEntry, ScalarNode } from './node.js';
import { quote } from './problem.js';
import type { Report } from './report.js';
import { densityLimit, documentLimit, documentSizeLimit, findExcess, propertyLimit } from './yaml-budget.js';
import { findForbiddenCharacter } from './yaml-characters.js';
import { composeDocuments } from './yaml-compose.js';
import { kubernetesReading } from './yaml-traps.js';

/** A document nested deeper than this is refused; Istio's deepest has about twelve levels. */
export const nestingLimit = 64;

/** So many nodes may a document repeat through aliases, counted as if each alias were written out. */
export const aliasedNodeLimit = 10_000;

/** YAML errors told per document: the first ones are the cause, the rest follows from them. */
const syntaxErrorsPerDocument = 5;

/** So many faults of one file are looked for. */
export const faultLimit = 200;

/**
 * Reads every YAML document of a file (YAML 1.2 core schema; JSON is a subset), one at a time. Reports `ENMESH_CONFIG_SYNTAX` for what is no YAML, for
 * characters that Kubernetes reads otherwise, duplicate keys, keys that are no strings, `__proto__`, unknown tags, directives and aliases without an
 * anchor, and `ENMESH_CONFIG_LIMIT` for nesting beyond {@link nestingLimit}, aliases beyond {@link aliasedNodeLimit}, and texts that would take more
 * time and memory than any honest one. A document with such a problem is left out; empty documents are skipped.
 */
export function* readYamlDocuments(text: string, report: Report): Generator<ConfigNode> {
  if (reportUnreadable(text, report)) return;
  const reading: Reading = { report, faultsLeft: faultLimit };
  const documents = composeDocuments(text, {
    faultLimit,
    onDirective: (offset) => reportDirective(offset, report),
    onTooManyFaults: (faults) => {
      reportFaults(faults, report);
      reportRest(text.length, report);
    },
  });
  for (const document of documents) {
    const node = readDocument(document, reading);
    if (node !== undefined) yield node;
    if (reading.faultsLeft <= 0) return reportRest(document.range?.[1] ?? 0, report);
  }
}

/** What one file's documents have in common. */
interface Reading {
  readonly report: Report;
  faultsLeft: number;
}

/** Whether a text is refused as a whole, before anything is built from it. */
function reportUnreadable(text: string, report: Report): boolean {
  const character = findForbiddenCharacter(text);
  if (character !== undefined) {
    report.error(character.offset, '', 'ENMESH_CONFIG_SYNTAX', character.message, character.hint);
    return true;
  }
  const excess = findExcess(text);
  if (excess === undefined) return false;
  const message = {
    depth: `nested deeper than ${nestingLimit} levels`,
    density: `more than ${densityLimit(excess.offset)} words and signs in ${excess.offset} characters: this is no configuration`,
    size: `a document of more than ${documentSizeLimit} words and signs: split it, and write the items of a List as documents`,
    documents: `more than ${documentLimit} documents in a file`,
    properties: `more than ${propertyLimit} anchors, aliases and tags in a document`,
  }[excess.kind];
  report.error(excess.offset, '', 'ENMESH_CONFIG_LIMIT', message);
  return true;
}

function reportDirective(offset: number, report: Report): void {
  report.error(
    offset,
    '',
    'ENMESH_CONFIG_SYNTAX',
    'YAML directives (%YAML, %TAG) are not read',
    'remove the line that begins with %',
  );
}

function reportRest(offset: number, report: Report): void {
  report.error(offset, '', 'ENMESH_CONFIG_LIMIT', `more than ${faultLimit} faults: the rest of the file is not read`);
}

function readDocument(document: Document, reading: Reading): ConfigNode | undefined {
  const { report } = reading;
  const faults = [...document.errors, ...document.warnings];
  if (faults.length > 0) {
    reportFaults(faults, report);
    return undefined;
  }
  if (document.contents === null || (isScalar(document.contents) && document.contents.value === null)) return undefined;
  const conversion: Conversion = { report, reading, anchors: new Map(), aliased: 0, failed: false };
  const converted = convert(document.contents as Node, conversion, 0, 0);
  return conversion.failed ? undefined : converted?.node;
}

/** The package's own sentences quote the file, which may hold a secret; these do not. */
const faultMessages: Partial<Record<YAMLError['code'], string>> = {
  BAD_ALIAS: 'a value that begins with * or & must be in quotes',
  BAD_DIRECTIVE: 'a YAML directive that is not understood',
  BAD_DQ_ESCAPE: 'a backslash in a double-quoted string begins no known escape; double it, or use single quotes',
  BAD_INDENT: 'wrong indentation, or a bracket, brace or quote that is never closed',
  BAD_SCALAR_START: 'a value may not begin with this character; put it in quotes',
  BLOCK_AS_IMPLICIT_KEY: 'a second `key:` on one line; put it on its own line or the value in quotes',
  MISSING_CHAR:
    'a quote, a comma, a colon or the space after it is missing here, or the line begins in another column than its neighbours',
  MULTILINE_IMPLICIT_KEY: 'a key that spans lines, or a line without its colon',
  TAB_AS_INDENT: 'a tab as indentation; YAML allows spaces only',
  TAG_RESOLVE_FAILED: 'a YAML tag that is not known here',
  UNEXPECTED_TOKEN: 'unexpected text; between [ ] or { } a value that has one of [ ] { } , in it must be in quotes',
};

function reportFaults(faults: readonly YAMLError[], report: Report): void {
  const lines = new Set<number>();
  for (const { code, pos } of faults.slice(0, syntaxErrorsPerDocument)) {
    // What the package finds further on in a line follows from the first mistake in it.
    const { line } = report.positionOf(pos[0]);
    if (lines.has(line)) continue;
    lines.add(line);
    const message = faultMessages[code] ?? `not YAML (${code.toLowerCase().replaceAll('_', ' ')})`;
    report.error(pos[0], '', 'ENMESH_CONFIG_SYNTAX', message);
  }
}

/** A converted node and how many nodes it stands for once its aliases are written out. */
interface Converted {
  readonly node: ConfigNode;
  readonly weight: number;
}

const coreTags = new Set(['str', 'int', 'float', 'bool', 'null', 'map', 'seq'].map((name) => `tag:yaml.org,2002:${name}`));

interface Conversion {
  readonly report: Report;
  readonly reading: Reading;
  /** `undefined` while the anchored node is still being read: an alias to it then would never end. */
  readonly anchors: Map<string, Converted | undefined>;
  aliased: number;
  failed: boolean;
}

function fail(
  conversion: Conversion,
  offset: number,
  code: 'ENMESH_CONFIG_SYNTAX' | 'ENMESH_CONFIG_LIMIT',
  message: string,
  hint?: string,
): undefined {
  conversion.failed = true;
  conversion.reading.faultsLeft--;
  conversion.report.error(offset, '', code, message, hint);
  return undefined;
}

function convert(node: Node | null, conversion: Conversion, fallbackOffset: number, depth: number): Converted | undefined {
  if (node === null) return { node: { kind: 'scalar', offset: fallbackOffset, value: null, plain: undefined }, weight: 1 };
  const offset = node.range?.[0] ?? fallbackOffset;
  if (depth > nestingLimit) return fail(conversion, offset, 'ENMESH_CONFIG_LIMIT', `nested deeper than ${nestingLimit} levels`);
  if (isAlias(node)) return resolveAlias(node.source, conversion, offset);
  // The package reads more tags than it says, such as !!binary and !!set.
  if (node.tag !== undefined && !coreTags.has(node.tag))
    return fail(conversion, offset, 'ENMESH_CONFIG_SYNTAX', 'a YAML tag that is not known here');
  const anchor = (node as { anchor?: string }).anchor;
  if (anchor !== undefined) conversion.anchors.set(anchor, undefined);
  const converted = isMap(node)
    ? convertMap(node.items as Pair<Node, Node | null>[], conversion, offset, depth)
    : isSeq(node)
      ? convertList(node.items as (Node | null)[], conversion, offset, depth)
      : { node: convertScalar(node as Scalar, offset), weight: 1 };
  if (anchor !== undefined) conversion.anchors.set(anchor, converted);
  return converted;
}

function resolveAlias(name: string, conversion: Conversion, offset: number): Converted | undefined {
  const target = conversion.anchors.get(name);
  if (target === undefined)
    return fail(conversion, offset, 'ENMESH_CONFIG_SYNTAX', 'an alias (*) without an anchor (&) of that name before it');
  conversion.aliased += target.weight;
  if (conversion.aliased <= aliasedNodeLimit) return target;
  return fail(
    conversion,
    offset,
    'ENMESH_CONFIG_LIMIT',
    `aliases stand for more than ${aliasedNodeLimit} values`,
    'write the values out',
  );
}

function convertScalar(node: Scalar, offset: number): ScalarNode {
  const value = node.value;
  const known = typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? value : null;
  return {
    kind: 'scalar',
    offset,
    value: known,
    plain: node.type === 'PLAIN' && node.tag === undefined ? node.source : undefined,
  };
}

function convertList(
  items: readonly (Node | null)[],
  conversion: Conversion,
  offset: number,
  depth: number,
): Converted | undefined {
  const converted: ConfigNode[] = [];
  let weight = 1;
  for (const item of items) {
    const one = convert(item, conversion, offset, depth + 1);
    if (one === undefined) return undefined;
    converted.push(one.node);
    weight += one.weight;
  }
  return { node: { kind: 'list', offset, items: converted }, weight };
}

function convertMap(
  items: readonly Pair<Node, Node | null>[],
  conversion: Conversion,
  offset: number,
  depth: number,
): Converted | undefined {
  const entries: MapEntry[] = [];
  const offsets = new Map<string, number>();
  let weight = 1;
  for (const pair of items) {
    const keyOffset = (pair.key as Node | null)?.range?.[0] ?? offset;
    const key = convertKey(pair.key, conversion, keyOffset);
    const value = convert(pair.value, conversion, keyOffset, depth + 1);
    if (key === undefined || value === undefined) return undefined;
    const earlier = offsets.get(key);
    if (earlier !== undefined) {
      const hint = `it stands first on line ${conversion.report.positionOf(earlier).line}; Kubernetes would keep only the last`;
      fail(conversion, keyOffset, 'ENMESH_CONFIG_SYNTAX', `the key ${quote(key)} stands twice in one map`, hint);
      if (conversion.reading.faultsLeft <= 0) return undefined;
    }
    offsets.set(key, keyOffset);
    entries.push({ key, keyOffset, value: value.node });
    weight += value.weight;
  }
  return { node: { kind: 'map', offset, entries }, weight };
}

function convertKey(key: Node | null, conversion: Conversion, offset: number): string | undefined {
  const resolved = isAlias(key)
    ? resolveAlias(key.source, conversion, offset)?.node
    : isScalar(key)
      ? convertScalar(key, offset)
      : undefined;
  if (resolved === undefined || resolved.kind !== 'scalar' || resolved.value === null || typeof resolved.value === 'boolean') {
    return conversion.failed
      ? undefined
      : fail(conversion, offset, 'ENMESH_CONFIG_SYNTAX', 'a key must be a string', 'put it in quotes');
  }
  const trap = resolved.plain === undefined ? undefined : kubernetesReading(resolved.plain);
  if (trap !== undefined) {
    return fail(
      conversion,
      offset,
      'ENMESH_CONFIG_SYNTAX',
      `Kubernetes reads the unquoted key ${quote(resolved.plain!)} as ${trap}`,
      'put it in quotes',
    );
  }
  const text = String(resolved.value);
  if (text === '__proto__') return fail(conversion, offset, 'ENMESH_CONFIG_SYNTAX', 'a key may not be "__proto__"');
  if (text === '<<' && resolved.plain !== undefined) {
    return fail(conversion, offset, 'ENMESH_CONFIG_SYNTAX', 'merge keys (<<) are not read', 'write the fields out');
  }
  return text;
}
