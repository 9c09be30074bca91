import { errorTable, type ErrorCode } from '@enmesh/core';
import { compileSnapshot, type MeshResources } from '@enmesh/core/config';
import { createEvaluator, type Evaluation } from '@enmesh/core/inbound';
import { describe, expect, it } from 'vitest';
import { openSeed } from '../support/fuzz-check.js';
import { readRecording, type FuzzCase, type FuzzWorld } from '../support/fuzz-world.js';
import { editByNearMiss } from '../support/policy-edit.js';

const refusals = process.env['ENMESH_LONG'] === '1' ? 10_000 : 1_000;

type Edit = (resources: MeshResources, one: FuzzCase) => readonly [MeshResources, FuzzCase];

const withoutModes: Edit = (resources, one) => [{ ...resources, peerAuthentications: [] }, one];
const withoutTokens: Edit = (resources, one) => [{ ...resources, requestAuthentications: [] }, one];

/** What the remedy of a code says to do, for those that a configuration or a connection can mend. */
const remedies: Partial<Record<ErrorCode, Edit>> = {
  ENMESH_TLS_PLAINTEXT_REFUSED: withoutModes,
  ENMESH_TLS_HANDSHAKE_FAILED: withoutModes,
  ENMESH_TLS_ALPN_REFUSED: (resources, one) => [resources, { ...one, connection: { ...one.connection, alpn: ['istio'] } }],
  ENMESH_TLS_CLIENT_UNVERIFIED: (resources, one) => [
    resources,
    { ...one, connection: { ...one.connection, peer: 'spiffe://cluster.local/ns/a/sa/b' } },
  ],
  ENMESH_TLS_TRUST_DOMAIN_REFUSED: (resources, one) => {
    const own = /^spiffe:\/\/([^/]+)/.exec(one.connection.peer ?? '')?.[1] ?? '';
    const trustDomainAliases = [...resources.mesh.trustDomainAliases, own];
    return [{ ...resources, mesh: { ...resources.mesh, trustDomainAliases } }, one];
  },
};

function ask(resources: MeshResources, { workload }: FuzzWorld, one: FuzzCase): Evaluation {
  const evaluator = createEvaluator({ snapshot: compileSnapshot(resources, workload, 1) });
  return evaluator.evaluate(one.connection, one.request) as Evaluation;
}

describe('what the door refuses in crossed and random worlds', () => {
  it('says why, and what mends it does', () => {
    const recorded = readRecording();
    const wrong: string[] = [];
    const tried: Record<string, number> = {};
    let refused = 0;
    for (let seed = 500_000; refused < refusals; seed += 1) {
      const open = openSeed(seed, recorded);
      for (let turn = 0; open !== undefined && turn < 30; turn += 1) {
        const one = open.next();
        const { refusal, explain, decision } = open.evaluator.evaluate(one.connection, one.request) as Evaluation;
        if (refusal === undefined) continue;
        refused += 1;
        const { code, reason } = refusal;
        if (reason === '' || (errorTable[code].remedy as string) === '') wrong.push(`${seed}: ${code} says nothing`);
        const isToken = code.startsWith('ENMESH_JWT_');
        const edit = isToken ? withoutTokens : remedies[code];
        if (edit !== undefined) {
          tried[code] = (tried[code] ?? 0) + 1;
          const [resources, mended] = edit(open.resources, one);
          if (ask(resources, open.world, mended).refusal?.code === code) wrong.push(`${seed}: ${code} stays`);
        }
        if (decision?.reason !== 'no-allow-matched') continue;
        for (const miss of explain?.()?.near ?? []) {
          tried['edits of rules'] = (tried['edits of rules'] ?? 0) + 1;
          const authorizationPolicies = editByNearMiss(open.resources.authorizationPolicies, miss);
          const after = ask({ ...open.resources, authorizationPolicies }, open.world, one);
          if (after.verdict.outcome !== 'allowed') wrong.push(`${seed}: ${miss.policy} rule ${miss.rule}`);
        }
      }
    }
    console.log(
      `explanations at the door: ${refused} refusals, mended: ${JSON.stringify(tried)}, ${wrong.length} without effect`,
    );
    expect(wrong).toEqual([]);
    expect(tried['edits of rules']).toBeGreaterThan(refused / 20);
  }, 600_000);
});
