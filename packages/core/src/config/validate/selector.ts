import type { WorkloadSelector } from '../../identity/workload.js';
import { childOf, placeAt, type Place } from '../place.js';
import { quote } from '../problem.js';
import { invalidAt, listOf, mapOf, record, refined, text, type Shape } from '../shape.js';

const labelValue = refined(text({ max: 63 }), (value, place) => {
  if (value.includes('*')) invalidAt(place, 'a label value may hold no wildcard', 'labels are compared exactly');
});

function checkLabelKey(key: string, place: Place): void {
  if (key === '') invalidAt(place, 'a label key must not be empty');
  else if (key.includes('*')) invalidAt(place, 'a label key may hold no wildcard');
}

/** Labels that a workload must have, compared exactly; a wildcard or an empty key is refused as by Istio. */
export const matchLabels = mapOf(labelValue, { max: 4096 }, checkLabelKey);

/** `spec.selector` of the security kinds. */
export const workloadSelector: Shape<WorkloadSelector> = record<WorkloadSelector>({ matchLabels });

/** What `targetRef` and `targetRefs[]` hold, as decoded. */
export interface TargetRefFields {
  readonly group?: string;
  readonly kind: string;
  readonly name: string;
  readonly namespace?: string;
}

/** Kinds that a policy may attach to, as `group/kind` (istio-semantics 2.11). */
const attachable = new Set([
  '/Service',
  'core/Service',
  'networking.istio.io/ServiceEntry',
  'gateway.networking.k8s.io/Gateway',
  'gateway.networking.k8s.io/GatewayClass',
]);

const targetRefFields = record<TargetRefFields>(
  { group: text({ max: 253 }), kind: text({ min: 1, max: 63 }), name: text({ min: 1, max: 253 }), namespace: text() },
  { required: ['kind', 'name'] },
);

/** A policy target reference; it must name a kind that Istio attaches policies to, in the policy's own namespace. */
export const targetRef: Shape<TargetRefFields> = refined(targetRefFields, (value, place) => {
  if ((value.namespace ?? '') !== '')
    invalidAt(placeAt(place, 'namespace'), 'a policy can only refer to its own namespace', 'remove the field');
  const target = `${value.group ?? ''}/${value.kind}`;
  if (!attachable.has(target))
    invalidAt(
      placeAt(place, 'kind'),
      `policies do not attach to ${quote(target)}`,
      `they attach to ${[...attachable].slice(1).join(', ')}`,
    );
});

/** `spec.targetRefs`. */
export const targetRefs = listOf(targetRef, { max: 16 });

/** At most one of `selector`, `targetRef` and `targetRefs` may be given. */
export function checkAttachment(
  spec: { readonly selector?: unknown; readonly targetRef?: unknown; readonly targetRefs?: unknown },
  place: Place,
): void {
  const given = (['selector', 'targetRef', 'targetRefs'] as const).filter((name) => spec[name] !== undefined);
  if (given.length > 1)
    invalidAt(
      childOf(place, given[1]!) ?? place,
      `only one of selector, targetRef and targetRefs can be set, found ${given.join(' and ')}`,
    );
}
