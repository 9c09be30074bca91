import type { Workload } from '../identity/workload.js';
import { compileJwtRules, type JwtRuleSet } from '../jwt/rules.js';
import { compilePolicies, type PolicySet } from '../policy/compile.js';
import { compileTlsModes, type TlsModes } from '../tls/mode.js';
import type { MeshSettings } from './mesh-config.js';
import type { Registry } from './registry.js';
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
  readonly registry: Registry;
  readonly resources: MeshResources;
}

/** Selects what applies to the workload, by Istio's order of mesh, namespace and workload, and compiles it. Throws what the compilers throw. */
export function compileSnapshot(resources: MeshResources, workload: Workload, generation: number): MeshSnapshot {
  const { mesh, registry } = resources;
  const { namespace, labels } = workload;
  const target = { namespace, labels };
  return Object.freeze({
    generation,
    workload,
    mesh,
    tlsModes: compileTlsModes(resources.peerAuthentications, target, mesh.rootNamespace),
    jwt: compileJwtRules(resources.requestAuthentications, target, mesh.rootNamespace),
    policies: compilePolicies(resources.authorizationPolicies, target, mesh),
    registry,
    resources,
  });
}
