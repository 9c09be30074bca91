import type { Resource, WorkloadSelector } from '../identity/workload.js';

/** What the next hop gets of the user's token. This version knows `NONE`; later ones add HOP, EXCHANGE and FORWARD. */
export type PropagationMode = 'NONE';

/** `spec.outbound[]`: what calls to these hosts carry of the user. An absent `mode` is NONE: the call goes as the service alone. */
export interface OutboundPropagation {
  readonly hosts: readonly string[];
  readonly mode?: PropagationMode;
}

/** `spec` of TokenPropagation (enmesh.dev/v1). */
export interface TokenPropagationSpec {
  readonly selector?: WorkloadSelector;
  readonly outbound?: readonly OutboundPropagation[];
}

export type TokenPropagation = Resource<TokenPropagationSpec>;
