import { describeSource, type SourceDocument } from './document.js';
import { selectorOf, type Draft } from './draft.js';
import { readFields, RefusedError, type Fields } from './fields.js';
import type { Services } from './services.js';

/** Where legacy roles were enforced: everywhere, nowhere, or for the namespaces and services listed. */
export interface RbacScope {
  /** ALLOW policies that hold the places of the legacy configuration: shut unless a role opens. */
  readonly drafts: readonly Draft[];
  /** Whether everything of the scope was only recorded, not enforced. */
  readonly dryRun: boolean;
  /** Which of the services of a namespace (undefined: all of them) roles had an effect on. */
  enforced(namespace: string, service: string | undefined): 'all' | 'none' | readonly string[];
}

const configFields = ['mode', 'inclusion', 'exclusion', 'enforcementMode'];
const listFields = ['services', 'namespaces', 'workloadSelectors'];

/** Of roles without a ClusterRbacConfig among the documents: taken as enforced. */
export const assumedScope: RbacScope = { drafts: [], dryRun: false, enforced: () => 'all' };

/** One `ClusterRbacConfig` (or `RbacConfig`) of rbac.istio.io/v1alpha1 as the ALLOW policies that shut what it covered. */
export function convertRbacConfig(source: SourceDocument, services: Services, rootNamespace: string): RbacScope {
  const config = readFields(source.spec, 'spec', configFields);
  if (source.name !== 'default') throw new RefusedError('metadata.name', 'only the one called default had an effect');
  const mode = config.text('mode') ?? 'OFF';
  const dryRun = isPermissive(config, 'enforcementMode');
  const place = { name: 'rbac-default', dryRun, rootNamespace, services };
  if (mode === 'OFF') return { drafts: [], dryRun, enforced: () => 'none' };
  if (mode === 'ON') return { drafts: [shut(rootNamespace, place)], dryRun, enforced: () => 'all' };
  if (mode === 'ON_WITH_INCLUSION') return included(listOf(config, 'inclusion'), place);
  if (mode === 'ON_WITH_EXCLUSION') return excluded(listOf(config, 'exclusion'), place);
  throw new RefusedError('spec.mode', 'must be OFF, ON, ON_WITH_INCLUSION or ON_WITH_EXCLUSION');
}

/** Whether a legacy enforcement mode, ENFORCED when absent, says PERMISSIVE. */
export function isPermissive(fields: Fields, name: string): boolean {
  const mode = fields.text(name) ?? 'ENFORCED';
  if (mode !== 'ENFORCED' && mode !== 'PERMISSIVE')
    throw new RefusedError(`${fields.path}.${name}`, 'must be ENFORCED or PERMISSIVE');
  return mode === 'PERMISSIVE';
}

interface Place {
  readonly name: string;
  readonly dryRun: boolean;
  readonly rootNamespace: string;
  readonly services: Services;
}

interface Listed {
  readonly namespaces: readonly string[];
  readonly services: readonly { readonly name: string; readonly namespace: string }[];
}

function listOf(config: Fields, name: string): Listed {
  const list = config.map(name, listFields);
  if (list?.has('workloadSelectors'))
    throw new RefusedError(`${list.path}.workloadSelectors`, 'write a policy with this selector by hand');
  const services = (list?.texts('services') ?? []).map((host, index) => {
    const [, service, namespace] = /^([^.*]+)\.([^.*]+)(?:\.svc(?:\..+)?)?$/.exec(host) ?? [];
    if (service === undefined || namespace === undefined) {
      throw new RefusedError(`spec.${name}.services[${index}]`, 'write the service as name.namespace.svc.cluster.local');
    }
    return { name: service, namespace };
  });
  return { namespaces: list?.texts('namespaces') ?? [], services };
}

/** An ALLOW policy without rules: nothing of this namespace, or these workloads, is allowed unless another policy allows it. */
function shut(namespace: string, place: Place): Draft {
  return { kind: 'AuthorizationPolicy', namespace, name: place.name, dryRun: place.dryRun, spec: {}, notes: [] };
}

function included(list: Listed, place: Place): RbacScope {
  const namespaces = new Set(list.namespaces);
  const single = list.services.filter(({ namespace }) => !namespaces.has(namespace));
  const drafts = single.map(({ namespace, name }): Draft => {
    const target = place.services.target(namespace, name);
    const notes = target.note === undefined ? [] : [target.note];
    return { ...shut(namespace, place), name: `${place.name}-${name}`, spec: selectorOf(target.labels), notes };
  });
  return {
    drafts: [...[...namespaces].map((namespace) => shut(namespace, place)), ...drafts],
    dryRun: place.dryRun,
    enforced(namespace, service) {
      if (namespaces.has(namespace)) return 'all';
      const names = single.filter((one) => one.namespace === namespace).map(({ name }) => name);
      const wanted = service === undefined ? names : names.filter((name) => name === service);
      return wanted.length === 0 ? 'none' : wanted;
    },
  };
}

function excluded(list: Listed, place: Place): RbacScope {
  const rest =
    'what the legacy list left out stays open by an ALLOW for everybody; every other namespace, also a later one, is shut';
  const open = (namespace: string, name: string, spec: Record<string, unknown>, notes: readonly string[]): Draft => ({
    kind: 'AuthorizationPolicy',
    namespace,
    name,
    spec: { ...spec, rules: [{}] },
    notes,
  });
  const drafts = [
    { ...shut(place.rootNamespace, place), notes: [rest] },
    ...list.namespaces.map((namespace) => open(namespace, `${place.name}-excluded`, {}, [])),
    ...list.services
      .filter(({ namespace }) => !list.namespaces.includes(namespace))
      .map(({ namespace, name }) => {
        const target = place.services.target(namespace, name);
        const spec = selectorOf(target.labels);
        return open(namespace, `${place.name}-excluded-${name}`, spec, target.note === undefined ? [] : [target.note]);
      }),
  ];
  const isOut = (namespace: string, service: string | undefined): boolean =>
    list.namespaces.includes(namespace) || list.services.some((one) => one.namespace === namespace && one.name === service);
  return { drafts, dryRun: place.dryRun, enforced: (namespace, service) => (isOut(namespace, service) ? 'none' : 'all') };
}

/** A note for roles when there is no configuration among the documents. */
export function scopeNote(config: SourceDocument | undefined): string | undefined {
  if (config !== undefined) return undefined;
  return 'no ClusterRbacConfig is among the documents: the role is taken to have been enforced';
}

/** The refusal of a role where the configuration had it switched off. */
export function refuseUnenforced(config: SourceDocument): RefusedError {
  return new RefusedError('', `it had no effect under ${describeSource(config)}; written today it would be enforced`);
}
