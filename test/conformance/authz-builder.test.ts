import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { compilePolicies } from '../../packages/core/src/policy/compile.js';
import { matchCustom } from '../../packages/core/src/policy/custom.js';
import { evaluatePolicies } from '../../packages/core/src/policy/evaluate.js';
import type { ExtensionProvider } from '../../packages/core/src/policy/provider.js';
import type { AuthorizationPolicy, PolicyOperation, PolicyRule, PolicySource } from '../../packages/core/src/policy/resource.js';
import { firstRbacPolicy, matchesRbacNode, type RbacFilter, type RbacNode, type RbacRequest } from '../support/envoy-rbac.js';
import { attributesOfProbe, editsBelow, probesOf } from '../support/rbac-probes.js';
import { documentsOf } from './inbound-oracle.js';

const corpora = process.env['ENMESH_CORPORA'] ?? resolve(import.meta.dirname, '../../../shared/corpora');
const folder = resolve(corpora, 'istio/pilot/pkg/security/authz/builder/testdata');
const isPresent = existsSync(folder);
if (!isPresent) console.log(`skip: authz-builder conformance, no corpus of Istio below ${corpora}`);

const target = { namespace: 'foo', labels: { app: 'httpbin', version: 'v1' } };

/** Trust domains and inputs are those that Istio's own test names beside its files. */
const trustDomains: Readonly<Record<string, readonly string[]>> = {
  'simple-policy-td-aliases': ['td1', 'cluster.local'],
  'simple-policy-multiple-td-aliases': ['td1', 'cluster.local', 'some-td'],
  'simple-policy-principal-with-wildcard': ['td1', 'foobar'],
  'td-aliases-source-principal': ['new-td', 'old-td', 'some-trustdomain'],
};

const inputs: Readonly<Record<string, string>> = {
  'custom-bad': 'custom-simple-http',
  'custom-http-provider': 'custom-simple-http',
  'custom-grpc-provider': 'custom-simple-http',
  'custom-grpc-provider-no-namespace': 'custom-simple-http',
};

const authorizer: ExtensionProvider = {
  kind: 'grpc',
  name: 'default',
  service: 'foo/my-custom-ext-authz.foo.svc.cluster.local',
  port: 9000,
  timeoutMs: 5000,
  failOpen: false,
  statusOnError: 403,
  body: undefined,
};

const meshOf = (name: string): Parameters<typeof compilePolicies>[2] => {
  const [trustDomain = 'cluster.local', ...trustDomainAliases] = trustDomains[name] ?? [];
  const extensionProviders = name === 'custom-bad' ? [] : [authorizer];
  return { trustDomain, trustDomainAliases, rootNamespace: 'istio-config', extensionProviders };
};

/** A single field of a policy whose meaning is not ours, by its `when` key. Only stricter verdicts are excused. */
const exceptions: Readonly<Record<string, string>> = {
  'experimental.envoy.filters.a.b[c]': 'no Envoy filter runs here, so its metadata cannot be judged: ALLOW fails, DENY holds',
};

interface Suite {
  readonly name: string;
  readonly file: string;
  readonly policies: readonly AuthorizationPolicy[];
  readonly filters: readonly RbacFilter[];
}

/** The outputs of one kind of chain beside their input; those named `extended-` are Istio's current ones. */
function suitesOf(kind: 'http' | 'tcp'): Suite[] {
  const read = (file: string): string => readFileSync(join(folder, kind, file), 'utf8');
  const outputs = new Map<string, string[]>();
  for (const file of readdirSync(join(folder, kind)).sort()) {
    const stem = /^(.*)-out\d?\.yaml$/.exec(file)?.[1];
    if (stem !== undefined) outputs.set(stem, [...(outputs.get(stem) ?? []), file]);
  }
  return [...outputs].map(([file, files]) => {
    const name = file.replace(/^extended-/, '');
    const documents = read(`${inputs[name] ?? name}-in.yaml`);
    const filters = files
      .flatMap((one) =>
        parseAllDocuments(read(one)).map((document) => document.toJS() as { name: string; typedConfig: RbacFilter }),
      )
      .filter((filter) => filter.name.endsWith('.rbac'))
      .map(({ typedConfig }) => typedConfig);
    return {
      name,
      file: `${kind}/${file}`,
      policies: documentsOf({ world: file, workload: target, mesh: {}, documents }, 'AuthorizationPolicy'),
      filters,
    };
  });
}

interface Verdict {
  readonly allowed: boolean;
  readonly decisive: string | undefined;
  readonly custom: string | undefined;
  readonly audit: string | undefined;
  readonly dryDeny: string | undefined;
  readonly dryAllow: string | undefined;
}

/** What Envoy does with Istio's own output: filter by filter, none after the one that denies. */
function verdictOfEnvoy(filters: readonly RbacFilter[], request: RbacRequest): Verdict {
  let verdict: Verdict = {
    allowed: true,
    decisive: undefined,
    custom: undefined,
    audit: undefined,
    dryDeny: undefined,
    dryAllow: undefined,
  };
  for (const { rules, shadowRules, shadowRulesStatPrefix } of filters) {
    const shadow = firstRbacPolicy(shadowRules, request);
    if (shadowRulesStatPrefix === 'istio_ext_authz_') verdict = { ...verdict, custom: verdict.custom ?? shadow };
    else
      verdict = { ...verdict, ...(shadowRules?.action === 'DENY' ? { dryDeny: shadow } : shadowRules && { dryAllow: shadow }) };
    if (rules === undefined) continue;
    const found = firstRbacPolicy(rules, request);
    if (rules.action === 'LOG') verdict = { ...verdict, audit: found };
    else if (found?.startsWith('istio-ext-authz-')) return { ...verdict, custom: found };
    else if (rules.action !== 'DENY') verdict = { ...verdict, allowed: found !== undefined, decisive: found };
    else if (found !== undefined) return { ...verdict, allowed: false, decisive: found };
  }
  return verdict;
}

const idOf = (place: { readonly policy?: string; readonly rule?: number } | undefined): string | undefined => {
  const [namespace, name] = place?.policy?.split('/') ?? [];
  return name === undefined ? undefined : `ns[${namespace}]-policy[${name}]-rule[${place?.rule}]`;
};

function verdictOfOurs(set: ReturnType<typeof compilePolicies>, request: RbacRequest): Verdict {
  const attributes = attributesOfProbe(request);
  const decision = evaluatePolicies(set, attributes);
  return {
    allowed: decision.allowed,
    decisive: idOf(decision),
    custom: matchCustom(set, attributes)?.id,
    audit: idOf(decision.auditedBy),
    dryDeny: idOf(decision.dryRun?.deny),
    dryAllow: idOf(decision.dryRun?.allow),
  };
}

/** One field of a rule as Istio writes it into the filter: the rule that has this field alone, and the matcher it became. */
interface Field {
  readonly key: string;
  readonly rule: PolicyRule;
  readonly node: RbacNode;
}

type Conjuncts = { readonly andRules?: { rules: RbacNode[] }; readonly andIds?: { ids: RbacNode[] } };

const sourceOrder: readonly (keyof PolicySource)[] = [
  'principals', 'notPrincipals', 'requestPrincipals', 'notRequestPrincipals', 'serviceAccounts', 'notServiceAccounts',
  'namespaces', 'notNamespaces', 'trustDomains', 'notTrustDomains', 'remoteIpBlocks', 'notRemoteIpBlocks', 'ipBlocks', 'notIpBlocks',
]; // prettier-ignore
const operationOrder: readonly (keyof PolicyOperation)[] = [
  'hosts', 'notHosts', 'methods', 'notMethods', 'paths', 'notPaths', 'ports', 'notPorts',
]; // prettier-ignore

const isOfConnection = (key: string): boolean => /^(destination\.|connection\.|experimental\.)/.test(key);

function conditionsOf({ when = [] }: PolicyRule, ofConnection: boolean): Omit<Field, 'node'>[] {
  return when
    .filter(({ key }) => isOfConnection(key) === ofConnection)
    .flatMap(({ key, values, notValues }) => [
      ...(values === undefined ? [] : [{ key, rule: { when: [{ key, values }] } }]),
      ...(notValues === undefined ? [] : [{ key, rule: { when: [{ key, notValues }] } }]),
    ]);
}

/** Every field of a rule with its own matcher, in the order in which Istio writes them. */
function fieldsOf(rule: PolicyRule, permissions: readonly RbacNode[], principals: readonly RbacNode[]): Field[] {
  const pair = (fields: Omit<Field, 'node'>[], alternative: RbacNode | undefined): Field[] => {
    const { andRules, andIds } = (alternative ?? {}) as Conjuncts;
    const nodes = (andRules?.rules ?? andIds?.ids ?? []).filter((node) => node['any'] !== true);
    expect(nodes).toHaveLength(fields.length);
    return fields.map((field, index) => ({ ...field, node: nodes[index] ?? {} }));
  };
  const operations = rule.to ?? [{ operation: {} }];
  const sources = rule.from ?? [{ source: {} }];
  return [
    ...operations.flatMap(({ operation }, index) => {
      const names = operationOrder.filter((name) => operation[name] !== undefined);
      const own = names.map((name) => ({ key: name, rule: { to: [{ operation: { [name]: operation[name] } }] } }));
      return pair([...own, ...conditionsOf(rule, true)], permissions[index]);
    }),
    ...sources.flatMap(({ source }, index) => {
      const names = sourceOrder.filter((name) => source[name] !== undefined);
      const own = names.map((name) => ({ key: name, rule: { from: [{ source: { [name]: source[name] } }] } }));
      return pair([...own, ...conditionsOf(rule, false)], principals[index]);
    }),
  ];
}

const withRules = (policy: AuthorizationPolicy, action: 'ALLOW' | 'DENY', rule: PolicyRule): AuthorizationPolicy => ({
  meta: { ...policy.meta, annotations: {} },
  spec: { action, rules: [rule] },
});

/** Counts probes that agree, and keeps what does not. */
interface Tally {
  probes: number;
  matched: number;
  fields: number;
  readonly excused: Map<string, number>;
  readonly wrong: unknown[];
}

const startTally = (): Tally => ({ probes: 0, matched: 0, fields: 0, excused: new Map(), wrong: [] });

function compareField(suite: Suite, policy: AuthorizationPolicy, { key, rule, node }: Field, tally: Tally): void {
  const mesh = meshOf(suite.name);
  const allow = compilePolicies([withRules(policy, 'ALLOW', rule)], target, mesh);
  const deny = compilePolicies([withRules(policy, 'DENY', rule)], target, mesh);
  tally.fields += 1;
  for (const request of probesOf(editsBelow(node))) {
    const attributes = attributesOfProbe(request);
    const wanted = matchesRbacNode(node, request);
    const got = { allow: evaluatePolicies(allow, attributes).allowed, deny: !evaluatePolicies(deny, attributes).allowed };
    tally.probes += 1;
    if (wanted) tally.matched += 1;
    if (got.allow === wanted && got.deny === wanted) continue;
    const isStricter = (!got.allow || wanted) && (got.deny || !wanted);
    if (isStricter && key in exceptions) tally.excused.set(key, (tally.excused.get(key) ?? 0) + 1);
    else tally.wrong.push({ file: suite.file, rule, request, wanted, got });
  }
}

function compareFields(suite: Suite, tally: Tally): void {
  const policies = new Map(
    suite.filters
      .flatMap(({ rules, shadowRules }) => [rules, shadowRules])
      .flatMap((rules) => Object.entries(rules?.policies ?? {})),
  );
  for (const [id, { permissions, principals }] of policies) {
    const [, name, index] = /policy\[([^\]]+)\]-rule\[(\d+)\]/.exec(id) ?? [];
    const policy = suite.policies.find(({ meta }) => meta.name === name);
    const rule = policy?.spec.rules?.[Number(index)];
    if (policy === undefined || rule === undefined) continue;
    for (const field of fieldsOf(rule, permissions, principals)) compareField(suite, policy, field, tally);
  }
}

function compareWhole(suite: Suite, policies: readonly AuthorizationPolicy[], tally: Tally): void {
  const set = compilePolicies(policies, target, meshOf(suite.name));
  for (const request of probesOf(editsBelow(suite.filters), 2000)) {
    const wanted = verdictOfEnvoy(suite.filters, request);
    const got = verdictOfOurs(set, request);
    tally.probes += 1;
    if (wanted.decisive ?? wanted.custom ?? wanted.dryAllow ?? wanted.dryDeny) tally.matched += 1;
    if (JSON.stringify(got) !== JSON.stringify(wanted)) tally.wrong.push({ file: suite.file, request, wanted, got });
  }
}

function report(how: string, outputs: number, tally: Tally): void {
  const excused = [...tally.excused.values()].reduce((sum, one) => sum + one, 0);
  const agree = tally.probes - tally.wrong.length - excused;
  const fields = tally.fields === 0 ? '' : `, ${tally.fields} fields`;
  console.log(
    `authz-builder ${how}: ${outputs} outputs${fields}, ${agree} probes agree (${tally.matched} match), ${excused} excused`,
  );
}

const isOfHttp = (key: string): boolean => key.startsWith('request.');

/**
 * What Istio leaves of a policy on a TCP port (istio-semantics 3.11): ALLOW loses every rule that asks for anything of HTTP, other actions lose
 * the asking. There is no TCP port here; it is the compiler of the rest that is compared.
 */
function asOnTcp({ meta, spec }: AuthorizationPolicy): AuthorizationPolicy {
  const rules = (spec.rules ?? []).flatMap((rule, index) => {
    const left: PolicyRule = {
      ...(rule.from && { from: rule.from.flatMap(({ source }) => ({ source: without(source, /requestprincipals$/i) })) }),
      ...(rule.to && { to: rule.to.map(({ operation }) => ({ operation: without(operation, /(hosts|methods|paths)$/i) })) }),
      ...(rule.when && { when: rule.when.filter(({ key }) => !isOfHttp(key)) }),
    };
    const isChanged = JSON.stringify(left) !== JSON.stringify(rule);
    // A rule that matches nothing keeps the indexes of those behind it.
    return isChanged && (spec.action ?? 'ALLOW') === 'ALLOW'
      ? [{ when: [{ key: 'destination.port', values: [`never ${index}`] }] }]
      : [left];
  });
  return { meta, spec: { ...spec, rules } };
}

const without = <Fields extends object>(fields: Fields, names: RegExp): Fields =>
  Object.fromEntries(Object.entries(fields).filter(([name]) => !names.test(name))) as Fields;

describe.skipIf(!isPresent)("Istio's own translation of AuthorizationPolicy", () => {
  it('says of every field of every rule what its matcher in Envoy says', () => {
    const suites = suitesOf('http');
    const tally = startTally();
    for (const suite of suites) compareFields(suite, tally);
    report('field by field', suites.length, tally);
    expect(tally.wrong.slice(0, 3)).toEqual([]);
    expect([...tally.excused.keys()]).toEqual(Object.keys(exceptions));
    expect(tally.fields).toBeGreaterThan(150);
  });

  it('decides, records and asks authorizers by whole policies as its filters do', () => {
    const suites = suitesOf('http');
    const tally = startTally();
    for (const suite of suites) compareWhole(suite, suite.policies, tally);
    report('by whole policies', suites.length, tally);
    expect(tally.wrong.slice(0, 3)).toEqual([]);
    expect(new Set(suites.map(({ name }) => name)).size).toBe(23);
  });

  it('leaves of policies on TCP ports what its TCP filters have', () => {
    const suites = suitesOf('tcp').map((suite) => ({ ...suite, policies: suite.policies.map(asOnTcp) }));
    const tally = startTally();
    for (const suite of suites) compareWhole(suite, suite.policies, tally);
    report('on TCP ports', suites.length, tally);
    expect(tally.wrong.slice(0, 3)).toEqual([]);
    expect(new Set(suites.map(({ name }) => name)).size).toBe(6);
  });
});
