import { compareByCreation, isSelected } from '../identity/workload.js';
import type { MtlsModeSpec, PeerAuthentication } from './resource.js';

/** What a port of a workload takes: mutual TLS only, mutual TLS or plaintext, plaintext only (PeerAuthentication `mtls.mode`). */
export type TlsMode = 'STRICT' | 'PERMISSIVE' | 'DISABLE';

/** The modes of one workload, composed from every PeerAuthentication that applies to it. Ports are the workload's own (target) ports. */
export interface TlsModes {
  modeFor(port: number): TlsMode;
  /** `<namespace>/<name>` of the policy that decided the mode of `port`; undefined when Istio's default, PERMISSIVE, stands. */
  sourceFor(port: number): string | undefined;
}

interface Decided {
  readonly mode: TlsMode;
  readonly source: string | undefined;
}

const istioDefault: Decided = { mode: 'PERMISSIVE', source: undefined };

/**
 * Composes the modes of a workload: mesh, then namespace, then workload, then port, the narrower winning unless it is UNSET.
 * In each class only the oldest policy counts (creation time, then name); a policy of the root namespace with a selector counts
 * nowhere, and port-level modes are taken from the one winning workload policy alone (Istio's ComposePeerAuthentication).
 */
export function compileTlsModes(
  policies: readonly PeerAuthentication[],
  target: { readonly namespace: string; readonly labels: Readonly<Record<string, string>> },
  rootNamespace: string,
): TlsModes {
  const inherited = composeNamespace(policies, target.namespace, rootNamespace);
  const workload =
    target.namespace === rootNamespace ? undefined : oldest(policies, (policy) => isWorkloadPolicy(policy, target));
  const workloadWide = narrowed(inherited, workload, workload?.spec.mtls?.mode);
  const ports = new Map<number, Decided>();
  for (const [port, setting] of Object.entries(workload?.spec.portLevelMtls ?? {})) {
    ports.set(Number(port), narrowed(workloadWide, workload, setting?.mode));
  }
  const decided = (port: number): Decided => ports.get(port) ?? workloadWide;
  return { modeFor: (port) => decided(port).mode, sourceFor: (port) => decided(port).source };
}

/** The mode of a namespace by its own and the mesh's PeerAuthentication alone; what auto mTLS asks for a service (istio-semantics: service mode). */
export function namespaceTlsMode(policies: readonly PeerAuthentication[], namespace: string, rootNamespace: string): TlsMode {
  return composeNamespace(policies, namespace, rootNamespace).mode;
}

function composeNamespace(policies: readonly PeerAuthentication[], namespace: string, rootNamespace: string): Decided {
  const mesh = oldest(policies, (policy) => isBroad(policy) && policy.meta.namespace === rootNamespace);
  const meshWide = narrowed(istioDefault, mesh, mesh?.spec.mtls?.mode);
  if (namespace === rootNamespace) return meshWide;
  const own = oldest(policies, (policy) => isBroad(policy) && policy.meta.namespace === namespace);
  return narrowed(meshWide, own, own?.spec.mtls?.mode);
}

function narrowed(wider: Decided, policy: PeerAuthentication | undefined, mode: MtlsModeSpec | undefined): Decided {
  if (policy === undefined || mode === undefined || mode === 'UNSET') return wider;
  return { mode, source: `${policy.meta.namespace}/${policy.meta.name}` };
}

function isBroad(policy: PeerAuthentication): boolean {
  return Object.keys(policy.spec.selector?.matchLabels ?? {}).length === 0;
}

function isWorkloadPolicy(
  policy: PeerAuthentication,
  target: { readonly namespace: string; readonly labels: Readonly<Record<string, string>> },
): boolean {
  return !isBroad(policy) && policy.meta.namespace === target.namespace && isSelected(policy.spec.selector, target.labels);
}

function oldest(
  policies: readonly PeerAuthentication[],
  isCandidate: (policy: PeerAuthentication) => boolean,
): PeerAuthentication | undefined {
  let first: PeerAuthentication | undefined;
  for (const policy of policies) {
    if (isCandidate(policy) && (first === undefined || compareByCreation(policy, first) < 0)) first = policy;
  }
  return first;
}
