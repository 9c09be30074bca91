import type { ResourceMeta } from '../../identity/workload.js';
import type { AuthorizationPolicySpec } from '../../policy/resource.js';
import type { DestinationRuleSpec, ServiceEntrySpec } from '../registry.js';
import { placeAt, type Place } from '../place.js';
import { invalidAt, type Shape } from '../shape.js';
import { authorizationPolicySpec, checkDryRun } from './authorization-policy.js';
import { checkConfigMaps, destinationRuleSpec } from './destination-rule.js';
import { checkExportTo } from './export-to.js';
import { kubernetesServiceSpec } from './kubernetes-service.js';
import { peerAuthenticationSpec } from './peer-authentication.js';
import { requestAuthenticationSpec } from './request-authentication.js';
import { serviceEntrySpec } from './service-entry.js';
import { tokenPropagationSpec } from './token-propagation.js';
import { workloadEntrySpec } from './workload-entry.js';

/** A kind of resource that is read: where it comes from, the shape of its `spec`, and what to look at besides. */
export interface KindReader {
  readonly kind: string;
  readonly group: string;
  readonly versions: readonly string[];
  readonly spec: Shape<object>;
  /** Core objects: unknown fields beside `spec` are passed over. */
  readonly open?: boolean;
  readonly check?: (meta: ResourceMeta, spec: object, place: Place) => void;
}

const dryRunAnnotation = 'istio.io/dry-run';

function annotationPlace(place: Place): Place {
  return placeAt(place, 'metadata', 'annotations', dryRunAnnotation);
}

const checkPolicyDryRun: KindReader['check'] = (meta, spec, place) => {
  const annotation = meta.annotations[dryRunAnnotation];
  if (annotation !== undefined) checkDryRun(annotation, (spec as AuthorizationPolicySpec).action, annotationPlace(place));
};

/** Istio refuses it elsewhere: a policy that its writer takes for a dry run would be in force. */
const refuseDryRun: NonNullable<KindReader['check']> = (meta, _spec, place) => {
  if (meta.annotations[dryRunAnnotation] !== undefined)
    invalidAt(annotationPlace(place), 'only an AuthorizationPolicy can be a dry run');
};

const checkServiceEntry: KindReader['check'] = (meta, spec, place) => {
  refuseDryRun(meta, spec, place);
  checkExportTo(spec as ServiceEntrySpec, meta.namespace, place, 'ServiceEntry');
};

const checkDestinationRule: KindReader['check'] = (meta, spec, place) => {
  refuseDryRun(meta, spec, place);
  checkExportTo(spec as DestinationRuleSpec, meta.namespace, place, 'DestinationRule');
  checkConfigMaps(spec as DestinationRuleSpec, meta.namespace, place);
};

const security = { group: 'security.istio.io', versions: ['v1', 'v1beta1'] };
const networking = { group: 'networking.istio.io', versions: ['v1', 'v1beta1', 'v1alpha3'], check: refuseDryRun };

/** Every kind that is read, in the order of docs. */
export const kindReaders = [
  { ...security, kind: 'AuthorizationPolicy', spec: authorizationPolicySpec, check: checkPolicyDryRun },
  { ...security, kind: 'RequestAuthentication', spec: requestAuthenticationSpec, check: refuseDryRun },
  { ...security, kind: 'PeerAuthentication', spec: peerAuthenticationSpec, check: refuseDryRun },
  { ...networking, kind: 'ServiceEntry', spec: serviceEntrySpec, check: checkServiceEntry },
  { ...networking, kind: 'WorkloadEntry', spec: workloadEntrySpec },
  { ...networking, kind: 'DestinationRule', spec: destinationRuleSpec, check: checkDestinationRule },
  { kind: 'Service', group: '', versions: ['v1'], spec: kubernetesServiceSpec, open: true },
  { kind: 'TokenPropagation', group: 'enmesh.dev', versions: ['v1'], spec: tokenPropagationSpec, check: refuseDryRun },
] as const satisfies readonly KindReader[];

/** The name of a kind that is read. */
export type KnownKind = (typeof kindReaders)[number]['kind'];

/** API groups whose kinds are all known, with those that are passed over: an invented kind there is a mistake that would open something. */
export const closedGroups: ReadonlyMap<string, readonly string[]> = new Map([
  ['security.istio.io', []],
  ['networking.istio.io', ['VirtualService', 'Gateway', 'EnvoyFilter', 'Sidecar', 'ProxyConfig', 'WorkloadGroup']],
  ['enmesh.dev', []],
]);

/** API groups of Istio up to 1.5, whose policies nothing enforces any more: one that is passed over opens what it guards. */
export const legacyGroups: readonly string[] = ['authentication.istio.io', 'rbac.istio.io', 'config.istio.io'];
