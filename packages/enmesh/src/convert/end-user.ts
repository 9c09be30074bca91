import type { SourceDocument } from './document.js';
import { selectorOf, type Draft } from './draft.js';
import { readFields, RefusedError, type Fields } from './fields.js';
import { convertJwt, jwtFields, requiredTokenNotes, requireTokenRules } from './jwt.js';
import type { Labels, Services } from './services.js';

const serviceFields = ['name', 'namespace', 'domain', 'service', 'labels'];

/**
 * One `EndUserAuthenticationPolicySpecBinding` (config.istio.io/v1alpha2) with the specs that it names: for each service the RequestAuthentication and
 * the DENY that makes a token necessary.
 */
export function convertEndUserBinding(source: SourceDocument, specs: readonly SourceDocument[], services: Services): Draft[] {
  const binding = readFields(source.spec, 'spec', ['policies', 'services']);
  const named = binding.each('policies', ['name', 'namespace']).map((reference) => findSpec(reference, source, specs));
  const jwts = named.flatMap((spec) => readFields(spec.spec, 'spec', ['jwts']).each('jwts', jwtFields));
  if (jwts.length === 0) throw new RefusedError('spec.policies', 'it names no policy that holds a JWT');
  const bound = binding.each('services', serviceFields);
  if (bound.length === 0) throw new RefusedError('spec.services', 'it is bound to no service');
  const rules = jwts.map((jwt) => convertJwt(jwt));
  return bound.flatMap((service, index) => {
    const target = targetOf(service, source, services);
    const name = bound.length === 1 ? source.name : `${source.name}-${service.text('name') ?? index}`;
    const notes = [...(target.note === undefined ? [] : [target.note]), ...new Set(rules.flatMap((rule) => rule.notes))];
    return draftPair({ namespace: target.namespace, name, labels: target.labels, rules: rules.map((one) => one.rule), notes });
  });
}

function draftPair(o: {
  namespace: string;
  name: string;
  labels: Labels;
  rules: readonly unknown[];
  notes: readonly string[];
}): Draft[] {
  const { namespace, name } = o;
  const selector = selectorOf(o.labels);
  return [
    { kind: 'RequestAuthentication', namespace, name, spec: { ...selector, jwtRules: o.rules }, notes: o.notes },
    {
      kind: 'AuthorizationPolicy',
      namespace,
      name: `${name}-require-token`,
      spec: { ...selector, action: 'DENY', rules: requireTokenRules(undefined, undefined) },
      notes: requiredTokenNotes,
    },
  ];
}

function findSpec(reference: Fields, source: SourceDocument, specs: readonly SourceDocument[]): SourceDocument {
  const name = reference.text('name') ?? '';
  const namespace = reference.text('namespace') ?? source.namespace;
  const found = specs.find((spec) => spec.name === name && spec.namespace === namespace);
  if (found !== undefined) return found;
  throw new RefusedError(reference.path, 'the EndUserAuthenticationPolicySpec of this name is not among the documents');
}

function targetOf(
  service: Fields,
  source: SourceDocument,
  services: Services,
): { namespace: string; labels: Labels; note?: string } {
  if (service.has('service')) throw new RefusedError(`${service.path}.service`, 'name the service by name and namespace');
  const namespace = service.text('namespace') ?? source.namespace;
  const labels = Object.fromEntries(service.entries('labels'));
  const name = service.text('name');
  if (name === undefined && Object.keys(labels).length === 0) throw new RefusedError(service.path, 'it names no service');
  if (name === undefined) return { namespace, labels };
  const target = services.target(namespace, name);
  return { namespace, ...target, labels: { ...target.labels, ...labels } };
}
