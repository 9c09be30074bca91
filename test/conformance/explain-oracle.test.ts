import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { compilePolicies } from '../../packages/core/src/policy/compile.js';
import { evaluatePolicies } from '../../packages/core/src/policy/evaluate.js';
import { explainPolicies, type ExplainOptions } from '../../packages/core/src/policy/explain.js';
import type { AuthorizationPolicySpec } from '../../packages/core/src/policy/resource.js';
import { parseTarget } from '../../packages/core/src/request/normalize.js';
import { editByNearMiss } from '../support/policy-edit.js';
import { attributesOf, documentsOf, readInboundOracle, type World } from './inbound-oracle.js';

const oracle = process.env['ENMESH_ORACLE'] ?? resolve(import.meta.dirname, '../../../shared/oracle');
const file = resolve(oracle, 'inbound.ndjson.gz');
const present = existsSync(file);
if (!present) console.log(`skip: the inbound oracle was not found below ${oracle}`);

function explainable(world: World): Omit<ExplainOptions, 'attributes'> {
  const { trustDomain = 'cluster.local', trustDomainAliases = [], rootNamespace = 'istio-system' } = world.mesh;
  const mesh = { trustDomain, trustDomainAliases, rootNamespace };
  return { policies: documentsOf<AuthorizationPolicySpec>(world, 'AuthorizationPolicy'), target: world.workload, mesh };
}

describe.skipIf(!present)('requests that Istio and Envoy refuse because no ALLOW rule matches', () => {
  it('would be allowed after each edit that their explanation names', () => {
    const wrong: string[] = [];
    let refused = 0;
    let edits = 0;
    for (const { world, entry } of present ? readInboundOracle(file) : []) {
      const mode = world.mesh.pathNormalization?.normalization ?? 'DEFAULT';
      const request = parseTarget(entry.request.target, mode === 'DEFAULT' ? 'BASE' : mode);
      // What the token decides never comes to policies.
      if (!request.ok || entry.expect.status !== 403 || entry.expect.details?.startsWith('jwt_authn') === true) continue;
      const given = explainable(world);
      const attributes = attributesOf(world, entry, request);
      const { decision, near } = explainPolicies({ ...given, attributes });
      if (decision.reason !== 'no-allow-matched') continue;
      refused += 1;
      for (const miss of near) {
        edits += 1;
        const after = evaluatePolicies(
          compilePolicies(editByNearMiss(given.policies, miss), given.target, given.mesh),
          attributes,
        );
        if (!after.allowed) wrong.push(`${entry.case}: ${miss.policy} rule ${miss.rule}`);
      }
    }
    console.log(`explanations: ${edits} edits of ${refused} refusals tried, ${wrong.length} without effect`);
    expect(wrong).toEqual([]);
    expect(edits).toBeGreaterThan(refused / 2);
  });
});
