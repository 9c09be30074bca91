import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { acceptSettings } from '../../packages/core/src/tls/accept-settings.js';
import { compileTlsModes } from '../../packages/core/src/tls/mode.js';
import type { PeerAuthentication, PeerAuthenticationSpec } from '../../packages/core/src/tls/resource.js';

const oracle = process.env['ENMESH_ORACLE'] ?? join(import.meta.dirname, '../../../shared/oracle');
const file = join(oracle, 'outbound.ndjson.gz');
const isPresent = existsSync(file);
if (!isPresent) console.log(`skip: tls-mode conformance, no oracle at ${file}`);

interface World {
  readonly world: string;
  readonly mesh: {
    readonly trustDomain?: string;
    readonly trustDomainAliases?: readonly string[];
    readonly rootNamespace?: string;
    readonly caCertificates?: readonly { readonly trustDomains?: readonly string[] }[];
    readonly meshMTLS?: { readonly minProtocolVersion?: string };
  };
  readonly documents: string;
}

interface Question {
  readonly case: string;
  readonly mode: {
    readonly workload: { readonly namespace: string; readonly labels?: Record<string, string> };
    readonly port: number;
  };
  readonly expect: { readonly mode: string; readonly minVersion?: string; readonly clientPrefixes?: readonly string[] };
}

interface YamlDocument {
  readonly kind?: string;
  readonly metadata?: { readonly namespace?: string; readonly name?: string; readonly creationTimestamp?: string };
  readonly spec?: PeerAuthenticationSpec;
}

/** Cases in which we differ on purpose: case name -> reason. */
const exceptions: Readonly<Record<string, string>> = {};

function peerAuthentications(documents: string): PeerAuthentication[] {
  const values = parseAllDocuments(documents).map((document) => document.toJS() as YamlDocument | null);
  return values
    .filter((value) => value?.kind === 'PeerAuthentication')
    .map((value) => ({
      meta: {
        kind: 'PeerAuthentication',
        namespace: value?.metadata?.namespace ?? 'default',
        name: value?.metadata?.name ?? '',
        creationTimestamp: Date.parse(value?.metadata?.creationTimestamp ?? '2024-01-01T00:00:00Z'),
        labels: {},
        annotations: {},
        source: { file: '', line: 1, column: 1 },
      },
      spec: value?.spec ?? {},
    }));
}

function answer(world: World, question: Question): Question['expect'] {
  const { workload, port } = question.mode;
  const { mesh } = world;
  const target = { namespace: workload.namespace, labels: workload.labels ?? {} };
  const mode = compileTlsModes(peerAuthentications(world.documents), target, mesh.rootNamespace ?? 'istio-system').modeFor(port);
  if (mode === 'DISABLE') return { mode };
  const settings = acceptSettings({
    mode,
    mesh: {
      trustDomain: mesh.trustDomain ?? 'cluster.local',
      trustDomainAliases: mesh.trustDomainAliases ?? [],
      caTrustDomains: (mesh.caCertificates ?? []).flatMap((ca) => ca.trustDomains ?? []),
      minProtocolVersion: mesh.meshMTLS?.minProtocolVersion === 'TLSV1_3' ? 'TLSv1.3' : 'TLSv1.2',
      cipherSuites: [],
    },
  });
  return {
    mode,
    minVersion: settings.minVersion.replace('.', '_'),
    clientPrefixes: settings.trustDomains.map((domain) => `spiffe://${domain}/`),
  };
}

describe.skipIf(!isPresent)("PeerAuthentication modes as Istio's own code composes them", () => {
  const lines = isPresent ? gunzipSync(readFileSync(file)).toString('utf8').split('\n').filter(Boolean) : [];
  const differing = new Map<string, unknown>();
  let asked = 0;
  let world: World | undefined;
  for (const line of lines) {
    const entry = JSON.parse(line) as World | Question | { readonly destination: unknown };
    if ('world' in entry) world = entry;
    if (!('mode' in entry) || world === undefined) continue;
    asked++;
    const got = answer(world, entry);
    if (JSON.stringify(got) !== JSON.stringify(entry.expect)) differing.set(entry.case, { got, expected: entry.expect });
  }

  it('agrees with every question but the excused ones', () => {
    console.log(`tls-mode: ${asked - differing.size} agree, ${Object.keys(exceptions).length} excused, of ${asked}`);
    expect(asked).toBeGreaterThan(100);
    expect(Object.fromEntries([...differing].filter(([name]) => !(name in exceptions)))).toEqual({});
  });

  it('excuses nothing that agrees by now', () => {
    expect(Object.keys(exceptions).filter((name) => !differing.has(name))).toEqual([]);
  });
});
