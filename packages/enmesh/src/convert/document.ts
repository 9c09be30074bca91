import { isMap, isSeq, LineCounter, parseAllDocuments, type Document, type ParsedNode, type YAMLMap } from 'yaml';
import { isDeepStrictEqual } from 'node:util';

/** One Kubernetes object as it stands in a file, of whatever kind. */
export interface SourceDocument {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly namespace: string;
  /** `metadata.labels` as written; not checked. */
  readonly labels: unknown;
  readonly spec: unknown;
  readonly file: string;
  readonly line: number;
}

/** A text that is no object, or no YAML. */
export interface UnreadDocument {
  readonly file: string;
  readonly line: number;
  readonly reason: string;
}

/** The documents of one text, `List`s unwrapped. `namespace` is for objects that name none. */
export interface ReadDocuments {
  readonly documents: readonly SourceDocument[];
  readonly unread: readonly UnreadDocument[];
}

/** Reads every YAML document of a file; what is broken is told and left out, the rest is read. Never throws. */
export function readDocuments(o: { file: string; text: string; namespace: string }): ReadDocuments {
  const lines = new LineCounter();
  const documents: SourceDocument[] = [];
  const unread: UnreadDocument[] = [];
  const refuse = (offset: number, reason: string): void => {
    unread.push({ file: o.file, line: Math.max(1, lines.linePos(offset).line), reason });
  };
  for (const document of parse(o.text, lines)) {
    if (document === undefined) refuse(0, 'it is nested too deeply to be read');
    else if (document.errors.length > 0) refuse(document.errors[0]!.pos[0], 'it is not YAML');
    else if (document.contents !== null) {
      for (const { node, value } of objectsOf(document)) {
        const read = sourceOf(value, o.namespace);
        const offset = node?.range?.[0] ?? 0;
        if (typeof read === 'string') refuse(offset, read);
        else documents.push({ ...read, file: o.file, line: lines.linePos(offset).line });
      }
    }
  }
  return { documents, unread };
}

function parse(text: string, lineCounter: LineCounter): readonly (Document<ParsedNode> | undefined)[] {
  try {
    const parsed = parseAllDocuments(text, { lineCounter, logLevel: 'silent', stringKeys: true });
    return Array.isArray(parsed) ? parsed : [];
  } catch {
    return [undefined];
  }
}

/** The objects of a document: its own, or the items of a Kubernetes `List`, each with its node for the line. */
function objectsOf(document: Document<ParsedNode>): readonly { node: ParsedNode | undefined; value: unknown }[] {
  const root = document.contents ?? undefined;
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 100 });
  } catch {
    return [{ node: root, value: undefined }];
  }
  const items = isMap(root) ? (root as YAMLMap).get('items', true) : undefined;
  if (!isSeq(items) || !String((value as { kind?: unknown }).kind).endsWith('List')) return [{ node: root, value }];
  const values = (value as { items: readonly unknown[] }).items;
  return values.map((item, index) => ({ node: items.items[index] as ParsedNode, value: item }));
}

function sourceOf(value: unknown, defaultNamespace: string): Omit<SourceDocument, 'file' | 'line'> | string {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'it is no Kubernetes object';
  const { apiVersion, kind, metadata, spec } = value as Record<string, unknown>;
  if (typeof apiVersion !== 'string' || typeof kind !== 'string') return 'it has no apiVersion and kind';
  const { name, namespace, labels } = (metadata ?? {}) as Record<string, unknown>;
  if (typeof name !== 'string' || name === '') return 'it has no metadata.name';
  if (namespace !== undefined && typeof namespace !== 'string') return 'its metadata.namespace is no string';
  return { apiVersion, kind, name, namespace: namespace ?? defaultNamespace, labels, spec };
}

/** `Kind namespace/name (file:line)`: how a document is called in notes and refusals. */
export function describeSource(source: SourceDocument): string {
  return `${source.kind} ${source.namespace}/${source.name} (${source.file}:${source.line})`;
}

/** Whether two values of documents say the same. */
export const isSame = isDeepStrictEqual;
