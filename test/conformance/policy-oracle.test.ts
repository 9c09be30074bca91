import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { compilePolicies, type PolicySet } from '../../packages/core/src/policy/compile.js';
import { evaluatePolicies } from '../../packages/core/src/policy/evaluate.js';
import type { AuthorizationPolicySpec } from '../../packages/core/src/policy/resource.js';
import { parseTarget, splitTarget, type PathNormalization } from '../../packages/core/src/request/normalize.js';
import { attributesOf, documentsOf, readInboundOracle, type Case, type World } from './inbound-oracle.js';

const oracle = process.env['ENMESH_ORACLE'] ?? resolve(import.meta.dirname, '../../../shared/oracle');
const file = resolve(oracle, 'inbound.ndjson.gz');
const present = existsSync(file);
if (!present) console.log(`skip: the inbound oracle was not found below ${oracle}`);

/** Where enmesh decides otherwise on purpose, by case. */
const exceptions: Readonly<Record<string, string>> = {
  'p0014-009':
    'a dot segment with encoded dots and a path parameter is refused with 400: Envoy leaves it alone, some applications resolve it',
};

/** Answers of Envoy's codec, of its TLS and of its JWT filter are not this folder's. */
const notCompared = /^(http1\.|http\.invalid_authority|missing_host_header|absolute_path_rejected|filter_removed|jwt_authn)/;

function compileWorld(world: World): PolicySet {
  return compilePolicies(documentsOf<AuthorizationPolicySpec>(world, 'AuthorizationPolicy'), world.workload, {
    trustDomain: world.mesh.trustDomain ?? 'cluster.local',
    trustDomainAliases: world.mesh.trustDomainAliases ?? [],
    rootNamespace: world.mesh.rootNamespace ?? 'istio-system',
  });
}

function modeOf(world: World): PathNormalization {
  const mode = world.mesh.pathNormalization?.normalization ?? 'DEFAULT';
  return mode === 'DEFAULT' ? 'BASE' : mode;
}

function decide(world: World, set: PolicySet, entry: Case): unknown {
  const target = parseTarget(entry.request.target, modeOf(world));
  if (!target.ok) return { outcome: 'denied', status: 400 };
  const { allowed, policy, rule, audit, dryRun } = evaluatePolicies(set, attributesOf(world, entry, target));
  const answer = allowed ? { outcome: 'allowed', status: 200, path: target.path } : { outcome: 'denied', status: 403 };
  return { ...answer, policy, rule, audit, dryRun };
}

function expected({ expect: { outcome, status, policy, rule, audit, dryRun, upstream } }: Case): unknown {
  return { outcome, status, ...(upstream && { path: splitTarget(upstream.path).path }), policy, rule, audit, dryRun };
}

// Queries are left out: the JWT filter writes them anew where it takes a token out.
describe.skipIf(!present)('requests decided by Istio and Envoy', () => {
  const sets = new Map<World, PolicySet>();
  const all = present ? readInboundOracle(file) : [];
  const compared = all.filter(
    ({ world, entry }) =>
      entry.expect.outcome !== 'closed' && !notCompared.test(entry.expect.details ?? '') && !world.documents.includes('CUSTOM'),
  );

  it('are decided alike, with the same policy, rule, audit and dry-run results', () => {
    const disagreeing: string[] = [];
    for (const { world, entry } of compared) {
      let set = sets.get(world);
      if (set === undefined) sets.set(world, (set = compileWorld(world)));
      const ours = decide(world, set, entry);
      try {
        expect(ours).toEqual(expected(entry));
      } catch {
        disagreeing.push(entry.case);
      }
    }
    console.log(`inbound oracle: ${compared.length} of ${all.length} cases compared, ${disagreeing.length} excused`);
    expect(disagreeing).toEqual(Object.keys(exceptions));
  });
});
