import { RefusedError } from './fields.js';

/** A document of today's kinds, where it came from (one source, or several that were merged), and what changes in meaning. */
export interface ConvertedDocument {
  readonly from: readonly string[];
  readonly notes: readonly string[];
  readonly document: Readonly<Record<string, unknown>>;
}

/** What has been written so far. */
export interface Book {
  readonly documents: readonly ConvertedDocument[];
  /**
   * Adds all documents of one source, or none: PeerAuthentications of the same workloads become one, since only the oldest of several would be in effect,
   * and two that contradict each other are a `RefusedError`. A name that is taken gets a number.
   */
  add(entries: readonly ConvertedDocument[]): void;
}

interface Named {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly spec: Readonly<Record<string, unknown>>;
}

const namedOf = ({ document }: ConvertedDocument): Named => document as unknown as Named;

/** An empty {@link Book}. */
export function createBook(): Book {
  const documents: ConvertedDocument[] = [];
  const modes = new Map<string, number>();
  const names = new Set<string>();

  function write(entry: ConvertedDocument): void {
    const { kind, metadata } = namedOf(entry);
    const nameKey = (name: string): string => `${kind} ${metadata.namespace}/${name}`;
    let name = metadata.name;
    for (let number = 2; names.has(nameKey(name)); number++) name = `${metadata.name}-${number}`;
    names.add(nameKey(name));
    if (kind === 'PeerAuthentication') modes.set(workloadsKey(entry), documents.length);
    documents.push({ ...entry, document: { ...entry.document, metadata: { ...metadata, name } } });
  }

  return {
    documents,
    add(entries) {
      const others = entries.filter((entry) => namedOf(entry).kind !== 'PeerAuthentication');
      const merged = new Map<string, ConvertedDocument>();
      for (const entry of entries) {
        if (namedOf(entry).kind !== 'PeerAuthentication') continue;
        const key = workloadsKey(entry);
        const at = modes.get(key);
        const earlier = merged.get(key) ?? (at === undefined ? undefined : documents[at]);
        merged.set(key, earlier === undefined ? entry : mergeModes(earlier, entry));
      }
      for (const [key, entry] of merged) {
        const at = modes.get(key);
        if (at === undefined) write(entry);
        else documents[at] = entry;
      }
      for (const entry of others) write(entry);
    },
  };
}

/** The workloads that a document speaks of, as a key. */
function workloadsKey(entry: ConvertedDocument): string {
  const { metadata, spec } = namedOf(entry);
  const labels = (spec['selector'] as { matchLabels?: Record<string, string> } | undefined)?.matchLabels;
  const sorted = Object.entries(labels ?? {}).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([metadata.namespace, labels === undefined, sorted]);
}

function mergeModes(earlier: ConvertedDocument, later: ConvertedDocument): ConvertedDocument {
  const [a, b] = [namedOf(earlier).spec, namedOf(later).spec];
  const portsOf = (spec: Named['spec']): Readonly<Record<string, unknown>> =>
    (spec['portLevelMtls'] ?? {}) as Record<string, unknown>;
  const clash = Object.keys(portsOf(a)).some((port) => Object.hasOwn(portsOf(b), port));
  if (clash || (a['mtls'] !== undefined && b['mtls'] !== undefined)) {
    throw new RefusedError(
      '',
      `it speaks of the same workloads as ${earlier.from.join(', ')}, and only one PeerAuthentication can`,
    );
  }
  const ports = { ...portsOf(a), ...portsOf(b) };
  const spec = { ...a, ...b, ...(Object.keys(ports).length === 0 ? {} : { portLevelMtls: ports }) };
  const from = [...new Set([...earlier.from, ...later.from])];
  return { from, notes: [...new Set([...earlier.notes, ...later.notes])], document: { ...earlier.document, spec } };
}
