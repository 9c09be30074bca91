import type { Workload } from '../identity/workload.js';
import { compileJwtRules, type JwtRuleSet } from '../jwt/rules.js';
import { compilePoliciesInSteps, type PolicySet } from '../policy/compile.js';
import { finish } from '../policy/steps.js';
import { compilePropagation, type PropagationPlan } from '../propagation/plan.js';
import { compileTlsModes, type TlsModes } from '../tls/mode.js';
import type { MeshSettings } from './mesh-config.js';
import type { Registry } from './registry.js';
import { runInSlices } from './slices.js';
import type { MeshResources } from './validate.js';

/** One configuration, compiled for one workload and never changed: what everything that is decided in the mesh is decided by until the next one. */
export interface MeshSnapshot {
  /** Counts up by one with every configuration that comes into force; the first is 1. */
  readonly generation: number;
  readonly workload: Workload;
  readonly mesh: MeshSettings;
  readonly tlsModes: TlsModes;
  readonly jwt: JwtRuleSet;
  readonly policies: PolicySet;
  readonly propagation: PropagationPlan;
  readonly registry: Registry;
  readonly resources: MeshResources;
}

/** Selects what applies to the workload, by Istio's order of mesh, namespace and workload, and compiles it. Throws what the compilers throw. */
export function compileSnapshot(resources: MeshResources, workload: Workload, generation: number): MeshSnapshot {
  return finish(compileSteps(resources, workload, generation));
}

/** The same with turns of the event loop in between, once it takes longer than a request should wait. Rejects with what the compilers throw. */
export function compileSnapshotInSlices(resources: MeshResources, workload: Workload, generation: number): Promise<MeshSnapshot> {
  return runInSlices(compileSteps(resources, workload, generation));
}

function* compileSteps(resources: MeshResources, workload: Workload, generation: number): Generator<void, MeshSnapshot> {
  const { mesh, registry } = resources;
  const { namespace, labels } = workload;
  const target = { namespace, labels };
  const tlsModes = compileTlsModes(resources.peerAuthentications, target, mesh.rootNamespace);
  yield;
  const jwt = compileJwtRules(resources.requestAuthentications, target, mesh.rootNamespace);
  yield;
  const policies = yield* compilePoliciesInSteps(resources.authorizationPolicies, target, mesh);
  const propagation = compilePropagation(resources.tokenPropagations, target, mesh);
  return Object.freeze({ generation, workload, mesh, tlsModes, jwt, policies, propagation, registry, resources });
}
