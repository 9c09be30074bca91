import { validateDocuments } from '@enmesh/core/config';
import { convertAuthenticationPolicy } from './authentication-policy.js';
import { createBook, type Book, type ConvertedDocument } from './book.js';
import { describeSource, type SourceDocument } from './document.js';
import type { Draft } from './draft.js';
import { convertEndUserBinding } from './end-user.js';
import { RefusedError } from './fields.js';
import { formatObject } from './print.js';
import { convertRoleBinding } from './rbac-role.js';
import { assumedScope, convertRbacConfig, refuseUnenforced, scopeNote, type RbacScope } from './rbac-scope.js';
import { readServices, type Services } from './services.js';

/** A legacy document that was not converted. `path` is the place inside it, empty for the whole. */
export interface RefusedDocument {
  readonly from: string;
  readonly path: string;
  readonly reason: string;
}

/** What became of a set of documents: written anew, refused with a reason, or passed over because they are no legacy kind. */
export interface Conversion {
  readonly converted: readonly ConvertedDocument[];
  readonly refused: readonly RefusedDocument[];
  readonly passedOver: readonly string[];
}

/** Settings of {@link convertDocuments}. */
export interface ConvertOptions {
  readonly rootNamespace: string;
}

interface Conversions {
  readonly book: Book;
  readonly refused: RefusedDocument[];
  /** Why a source, as it is called in `from`, cannot be converted though nothing in it says so: today's document would not be valid. */
  readonly invalid: ReadonlyMap<string, string>;
}

const isGroup = (document: SourceDocument, group: string): boolean => document.apiVersion.startsWith(`${group}/`);

/**
 * Turns the legacy kinds of config.istio.io (end-user authentication), authentication.istio.io and rbac.istio.io into PeerAuthentication,
 * RequestAuthentication and AuthorizationPolicy. A legacy document is converted as a whole or refused as a whole; every document that is written passes
 * `validateDocuments`. Kubernetes Services among the documents tell selectors and ports. Pure.
 */
export function convertDocuments(documents: readonly SourceDocument[], options: ConvertOptions): Conversion {
  const invalid = new Map<string, string>();
  for (;;) {
    const conversion = convertAll(documents, options, invalid);
    const known = invalid.size;
    for (const [from, reason] of findInvalid(conversion.converted)) invalid.set(from, reason);
    // Without what is refused others may merge or be named otherwise.
    if (invalid.size === known) return conversion;
  }
}

function convertAll(
  documents: readonly SourceDocument[],
  options: ConvertOptions,
  invalid: ReadonlyMap<string, string>,
): Conversion {
  const services = readServices(documents);
  const result: Conversions = { book: createBook(), refused: [], invalid };
  const of = (kind: string, group: string): SourceDocument[] =>
    documents.filter((one) => one.kind === kind && isGroup(one, group));
  const policies = [...of('MeshPolicy', 'authentication.istio.io'), ...of('Policy', 'authentication.istio.io')];
  const broad = policies.filter((one) => one.kind === 'MeshPolicy' || one.name === 'default');
  for (const source of policies) add(result, source, () => convertAuthenticationPolicy(source, { ...options, services, broad }));
  const specs = of('EndUserAuthenticationPolicySpec', 'config.istio.io');
  const endUserBindings = of('EndUserAuthenticationPolicySpecBinding', 'config.istio.io');
  for (const source of endUserBindings) add(result, source, () => convertEndUserBinding(source, specs, services));
  convertRbac(documents, { services, options, result });
  result.refused.push(...leftOver(documents));
  return {
    converted: result.book.documents,
    refused: result.refused,
    passedOver: documents.filter((one) => !isLegacy(one)).map((one) => describeSource(one)),
  };
}

function convertRbac(
  documents: readonly SourceDocument[],
  { services, options, result }: { services: Services; options: ConvertOptions; result: Conversions },
): void {
  const rbac = documents.filter((one) => isGroup(one, 'rbac.istio.io'));
  const roles = rbac.filter((one) => one.kind === 'ServiceRole');
  const bindings = rbac.filter((one) => one.kind === 'ServiceRoleBinding');
  const configs = rbac.filter((one) => one.kind === 'ClusterRbacConfig' || one.kind === 'RbacConfig');
  const config = configs.find((one) => one.kind === 'ClusterRbacConfig') ?? configs[0];
  let scope: RbacScope | undefined = assumedScope;
  for (const source of configs) {
    add(result, source, () => {
      if (source !== config) throw new RefusedError('', `only one is in effect, here ${describeSource(config!)}`);
      scope = undefined;
      scope = convertRbacConfig(source, services, options.rootNamespace);
      return [...scope.drafts];
    });
  }
  for (const source of bindings) {
    add(result, source, () => {
      if (scope === undefined)
        throw new RefusedError('', `where it had an effect is not known, since ${describeSource(config!)} was refused`);
      const note = scopeNote(config);
      const unenforced = (): RefusedError =>
        config === undefined ? new RefusedError('', 'it had no effect') : refuseUnenforced(config);
      const drafts = convertRoleBinding(source, { roles, services, scope, unenforced });
      return note === undefined ? drafts : drafts.map((draft) => ({ ...draft, notes: [...draft.notes, note] }));
    });
  }
}

/** Converts one legacy document and adds what came of it: all of its drafts, or one refusal. */
function add(result: Conversions, source: SourceDocument, convert: () => Draft[]): void {
  const from = describeSource(source);
  try {
    const documents = convert().map((draft) => ({ from: [from], notes: draft.notes, document: documentOf(draft) }));
    const reason = result.invalid.get(from);
    if (reason !== undefined) throw new RefusedError('', reason);
    result.book.add(documents);
  } catch (error) {
    if (!(error instanceof RefusedError)) throw error;
    result.refused.push({ from, path: error.path, reason: error.message });
  }
}

function documentOf(draft: Draft): Record<string, unknown> {
  const annotations = draft.dryRun === true ? { annotations: { 'istio.io/dry-run': 'true' } } : {};
  const metadata = { name: draft.name, namespace: draft.namespace, ...annotations };
  return { apiVersion: 'security.istio.io/v1', kind: draft.kind, metadata, spec: draft.spec };
}

/** So few documents that even with all the rules that each may have they are no configuration too large to be validated. */
const validatedTogether = 90;

/** The sources of documents that are not valid, with the first error of each. What is validated is the text that is written. */
function findInvalid(converted: readonly ConvertedDocument[]): Map<string, string> {
  const invalid = new Map<string, string>();
  for (let start = 0; start < converted.length; start += validatedTogether) {
    const together = converted.slice(start, start + validatedTogether);
    const files = together.map(({ document }, at) => ({ name: String(at), text: formatObject(document) }));
    for (const { level, file, path, message } of validateDocuments(files).problems) {
      const one = together[Number(file)];
      if (level !== 'error' || one === undefined) continue;
      const reason = `today's ${String(one.document['kind'])} would not be valid: ${path}: ${message}`;
      for (const source of one.from) if (!invalid.has(source)) invalid.set(source, reason);
    }
  }
  return invalid;
}

const convertible = new Map([
  ['authentication.istio.io', ['Policy', 'MeshPolicy']],
  ['rbac.istio.io', ['ClusterRbacConfig', 'RbacConfig', 'ServiceRole', 'ServiceRoleBinding']],
  ['config.istio.io', ['EndUserAuthenticationPolicySpec', 'EndUserAuthenticationPolicySpecBinding']],
]);

function isLegacy(document: SourceDocument): boolean {
  return [...convertible.keys()].some((group) => isGroup(document, group));
}

/** Kinds of the legacy groups that nothing is written for, and roles and specs that no binding uses. */
function leftOver(documents: readonly SourceDocument[]): readonly RefusedDocument[] {
  const uses = (kind: string, pick: (spec: Record<string, unknown>) => unknown): string =>
    JSON.stringify(
      documents
        .filter((one) => one.kind === kind)
        .map((one) => [one.namespace, pick((one.spec ?? {}) as Record<string, unknown>)]),
    );
  const roleUses = uses('ServiceRoleBinding', (spec) => [
    spec['role'],
    (spec['roleRef'] as { name?: unknown } | null | undefined)?.name,
  ]);
  const specUses = uses('EndUserAuthenticationPolicySpecBinding', (spec) => spec['policies']);
  return documents.filter(isLegacy).flatMap((source) => {
    const group = source.apiVersion.slice(0, source.apiVersion.indexOf('/'));
    const from = describeSource(source);
    if (!convertible.get(group)?.includes(source.kind)) {
      return [{ from, path: 'kind', reason: 'this kind has no successor among the policies of today' }];
    }
    const name = JSON.stringify(source.name);
    const isUnused =
      (source.kind === 'ServiceRole' && !roleUses.includes(name)) ||
      (source.kind === 'EndUserAuthenticationPolicySpec' && !specUses.includes(name));
    return isUnused ? [{ from, path: '', reason: 'no binding uses it, so it had no effect' }] : [];
  });
}
