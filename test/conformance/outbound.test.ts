import { existsSync, readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { defaultMeshSettings, type MeshSettings } from '../../packages/core/src/config/mesh-config.js';
import type { Registry } from '../../packages/core/src/config/registry.js';
import { resolveDestination, type Destination } from '../../packages/core/src/outbound/destination.js';

const oracle = process.env.ENMESH_ORACLE ?? fileURLToPath(new URL('../../../shared/oracle', import.meta.url));
const file = `${oracle}/outbound.ndjson.gz`;
const present = existsSync(file);
if (!present) console.log('skip: outbound conformance, the oracle is not here (ENMESH_ORACLE)');

/** The three rules by which enmesh refuses what Istio would send, and why each is right. */
const refusals = {
  ENMESH_OUTBOUND_NOBODY_EXPECTED: 'mutual TLS with no expected identity would accept every workload of the mesh',
  ENMESH_OUTBOUND_SILENT_PORT: 'a silent portLevelSettings entry turns the TLS that was asked for into plaintext',
  ENMESH_OUTBOUND_CREDENTIAL: 'a credentialName without workloadSelector is dropped and the connection becomes plaintext',
} as const;

interface Question {
  readonly name: string;
  readonly registry: Registry;
  readonly mesh: MeshSettings;
  readonly client: { readonly namespace: string; readonly serviceAccount: string; readonly labels?: Record<string, string> };
  readonly destination: { readonly host: string; readonly port: number; readonly subset: string | null };
  readonly expected: Destination;
}

interface Document {
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly creationTimestamp?: string;
    readonly labels?: Record<string, string>;
    readonly annotations?: Record<string, string>;
  };
  readonly spec?: Record<string, unknown>;
}

const kinds = {
  Service: 'services',
  ServiceEntry: 'serviceEntries',
  WorkloadEntry: 'workloadEntries',
  DestinationRule: 'destinationRules',
  PeerAuthentication: 'peerAuthentications',
} as const;

function readRegistry(text: string): Registry {
  const registry: Record<string, unknown[]> = {
    services: [],
    serviceEntries: [],
    workloadEntries: [],
    destinationRules: [],
    peerAuthentications: [],
  };
  for (const parsed of parseAllDocuments(text)) {
    const document = (parsed as { toJS(): unknown }).toJS() as Document | null;
    if (document === null) continue;
    const { kind, metadata } = document;
    const spec = { ...document.spec };
    if (kind === 'Service') {
      const ports = (spec['ports'] ?? []) as ({ port: number } & Record<string, unknown>)[];
      spec['ports'] = ports.map(({ port, ...rest }) => ({ number: port, ...rest }));
    }
    const meta = {
      kind,
      namespace: metadata.namespace,
      name: metadata.name,
      creationTimestamp: Date.parse(metadata.creationTimestamp ?? '2024-01-01T00:00:00Z'),
      labels: metadata.labels ?? {},
      annotations: metadata.annotations ?? {},
      source: { file: 'oracle', line: 1, column: 1 },
    };
    registry[kinds[kind as keyof typeof kinds]]?.push({ meta, spec });
  }
  return registry as unknown as Registry;
}

function readMesh(fields: Record<string, unknown>): MeshSettings {
  const policy = fields['outboundTrafficPolicy'] as { mode?: MeshSettings['outboundTrafficPolicy'] } | undefined;
  return {
    ...defaultMeshSettings,
    ...(typeof fields['trustDomain'] === 'string' && { trustDomain: fields['trustDomain'] }),
    ...(Array.isArray(fields['trustDomainAliases']) && { trustDomainAliases: fields['trustDomainAliases'] as string[] }),
    ...(typeof fields['rootNamespace'] === 'string' && { rootNamespace: fields['rootNamespace'] }),
    ...(typeof fields['enableAutoMtls'] === 'boolean' && { enableAutoMtls: fields['enableAutoMtls'] }),
    ...(policy?.mode !== undefined && { outboundTrafficPolicy: policy.mode }),
  };
}

interface World {
  readonly world: string;
  readonly documents: string;
  readonly mesh: Parameters<typeof readMesh>[0];
}

interface Case extends Pick<Question, 'client' | 'destination'> {
  readonly case: string;
  readonly expect: Question['expected'];
}

function readQuestions(): Question[] {
  const questions: Question[] = [];
  let registry: Registry | undefined;
  let mesh = defaultMeshSettings;
  for (const line of gunzipSync(readFileSync(file)).toString('utf8').split('\n')) {
    if (line === '') continue;
    const entry = JSON.parse(line) as World | Case;
    if ('world' in entry) {
      registry = readRegistry(entry.documents);
      mesh = readMesh(entry.mesh);
    } else if ('destination' in entry && registry !== undefined) {
      questions.push({
        name: entry.case,
        registry,
        mesh,
        client: entry.client,
        destination: entry.destination,
        expected: entry.expect,
      });
    }
  }
  return questions;
}

function answer({ registry, mesh, client, destination }: Question): Destination {
  return resolveDestination(
    { registry, mesh },
    {
      client: { labels: {}, ...client },
      host: destination.host,
      port: destination.port,
      subset: destination.subset ?? undefined,
    },
  );
}

describe.skipIf(!present)('destinations as Istio resolves them', () => {
  const questions = present ? readQuestions() : [];

  it('reads every destination question of the oracle', () => {
    expect(questions.length).toBeGreaterThan(400);
  });

  it('agrees with Istio in every field, also where it then refuses to send', () => {
    const wrong: unknown[] = [];
    for (const question of questions) {
      const { refused: _, ...got } = answer(question);
      try {
        expect(got).toEqual(question.expected);
      } catch {
        wrong.push({ case: question.name, got, expected: question.expected });
      }
    }
    expect(wrong).toEqual([]);
  });

  it('refuses for the three reasons of docs/deviations.md and no other', () => {
    const counts = new Map<string, number>();
    for (const question of questions) {
      const { refused } = answer(question);
      if (refused !== undefined) counts.set(refused.code, (counts.get(refused.code) ?? 0) + 1);
    }
    console.log(`outbound oracle: ${questions.length} questions, refused ${JSON.stringify(Object.fromEntries(counts))}`);
    expect(Object.keys(refusals)).toEqual(expect.arrayContaining([...counts.keys()]));
    expect([...counts.values()].reduce((sum, count) => sum + count, 0)).toBeLessThan(questions.length * 0.06);
  });
});
