import type { AuthorizationPolicy, Condition, Facts, Rule } from './authorization-policy.js';
import type { Claims } from './token.js';
import type { Document, MeshFields, Target } from './world.js';
import {
  Dice,
  trustDomains,
  namespaces,
  accounts,
  paths,
  templates,
  hosts,
  methods,
  ports,
  addresses,
  issuers,
  subjects,
  texts,
  headerNames,
  claimNames,
  near,
  path,
  text,
  sourceFields,
  operationFields,
  plainKeys,
} from './random-values.js';

/** A world made from one seed: policies and requests that brush against each other. */
export interface RandomWorld {
  readonly target: Target;
  readonly mesh: MeshFields;
  readonly policies: Policies;
  readonly requests: readonly Facts[];
}

/** Most lists are short; some are long enough that an index of values is worth its while. */
const values = (dice: Dice, make: (dice: Dice) => string): string[] => dice.list(1, dice.isOneIn(20) ? 12 : 2, () => make(dice));

function fields(dice: Dice, makers: Readonly<Record<string, (dice: Dice) => string>>): Record<string, string[]> {
  const out: Record<string, string[]> = {};
  for (const name of dice.list(1, 2, () => dice.pick(Object.keys(makers)))) {
    const make = makers[name] as (dice: Dice) => string;
    const negative = `not${name[0]?.toUpperCase()}${name.slice(1)}`;
    if (!dice.isOneIn(4)) out[name] = values(dice, make);
    if (dice.isOneIn(4) || out[name] === undefined) out[negative] = values(dice, make);
  }
  // Istio refuses these beside principals and namespaces.
  const named = Object.keys(out);
  const isMixed =
    named.some((name) => /^(s|notS)erviceAccounts$/.test(name)) &&
    named.some((name) => /^(not)?(p|P)rincipals$|amespaces$/.test(name));
  if (isMixed) for (const name of named) if (/^(s|notS)erviceAccounts$/.test(name)) delete out[name];
  return out;
}

function condition(dice: Dice): Condition {
  const [key, make]: [string, (dice: Dice) => string] = dice.pick([
    () => {
      const name = dice.pick(Object.keys(plainKeys));
      return [name, plainKeys[name] as (dice: Dice) => string] as [string, (dice: Dice) => string];
    },
    () => {
      const name = dice.pick(headerNames);
      const makers: Readonly<Record<string, (dice: Dice) => string>> = {
        ':method': (d) => near(d, d.pick(methods)),
        ':path': path,
        ':authority': (d) => near(d, d.pick(hosts)),
        host: (d) => near(d, d.pick(hosts)),
      };
      return [`request.headers[${name}]`, makers[name] ?? text] as [string, (dice: Dice) => string];
    },
    () => [`request.auth.claims${dice.pick(claimNames)}`, text] as [string, (dice: Dice) => string],
  ])();
  const positive = dice.isOneIn(4) ? {} : { values: values(dice, make) };
  return { key, ...positive, ...(dice.isOneIn(4) || positive.values === undefined ? { notValues: values(dice, make) } : {}) };
}

function rule(dice: Dice): Rule {
  const from = dice.isOneIn(2) ? dice.list(0, 2, () => ({ source: fields(dice, sourceFields) })) : undefined;
  const to = dice.isOneIn(2) ? dice.list(0, 2, () => ({ operation: fields(dice, operationFields) })) : undefined;
  const when = dice.isOneIn(3) ? dice.list(0, 2, () => condition(dice)) : undefined;
  return { ...(from && { from }), ...(to && { to }), ...(when && { when }) };
}

function policy(dice: Dice, name: string, own: string, root: string): Document<AuthorizationPolicy> {
  const action = dice.pick(['ALLOW', 'ALLOW', 'ALLOW', 'DENY', 'DENY', 'AUDIT', undefined]);
  const rules = dice.isOneIn(15) && action !== 'DENY' ? undefined : dice.list(1, dice.isOneIn(20) ? 14 : 3, () => rule(dice));
  const dry = action !== 'AUDIT' && dice.isOneIn(8) ? { 'istio.io/dry-run': dice.pick(['true', '1', 'false']) } : {};
  const labels = dice.pick([
    undefined,
    undefined,
    undefined,
    { app: 'api' },
    { app: 'api', version: 'v1' },
    { app: 'other' },
    {},
  ]);
  return {
    kind: 'AuthorizationPolicy',
    namespace: dice.pick([own, own, own, root, 'other']),
    name,
    created: 0,
    annotations: dry,
    spec: {
      ...(action && { action }),
      ...(rules && { rules }),
      ...(labels && { selector: { matchLabels: labels } }),
      ...(dice.isOneIn(40) && { targetRefs: [{ kind: 'Service', name: 'api' }] }),
    },
  };
}

function claims(dice: Dice): Claims | undefined {
  if (dice.isOneIn(3)) return undefined;
  const out: Record<string, unknown> = { iss: dice.pick(issuers), sub: dice.pick(subjects) };
  if (dice.isOneIn(10)) delete out[dice.pick(['iss', 'sub'])];
  const any = (): unknown =>
    dice.pick<unknown>([
      dice.pick(texts),
      dice.pick(texts),
      dice.list(0, 3, () => dice.pick(texts)),
      7,
      true,
      null,
      [1, dice.pick(texts)],
      { b: dice.pick(texts) },
      [[dice.pick(texts)]],
    ]);
  if (dice.isOneIn(2)) out['aud'] = dice.isOneIn(2) ? dice.pick(texts) : dice.list(0, 2, () => dice.pick(texts));
  if (dice.isOneIn(2)) out['azp'] = dice.pick<unknown>([dice.pick(texts), dice.pick(texts), 7]);
  for (const name of ['groups', 'role', 'a', 'a.b']) if (dice.isOneIn(2)) out[name] = any();
  if (dice.isOneIn(2)) out['scope'] = dice.list(0, 3, () => dice.pick(texts));
  if (dice.isOneIn(3)) out['deep'] = { er: dice.isOneIn(3) ? any() : { est: any() } };
  return out;
}

function peer(dice: Dice): string | undefined {
  if (dice.isOneIn(4)) return undefined;
  const [domain, own, account] = [dice.pick(trustDomains), dice.pick(namespaces), dice.pick(accounts)];
  const plain = `spiffe://${domain}/ns/${own}/sa/${account}`;
  return dice.pick([
    plain,
    plain,
    plain,
    plain,
    `${plain}/more`,
    `spiffe://${domain}/x/ns/${own}/sa/${account}`,
    `spiffe://${domain}/ns/${own}/x/sa/${account}`,
    `spiffe://${domain}/sa/${account}`,
    `spiffe://${domain}/ns/${own}/ns/${account}`,
  ]);
}

function request(dice: Dice): Facts {
  const [method, host, own] = [dice.pick(methods), dice.pick(hosts), dice.pick(paths)];
  const query = dice.pick(['', '', '?a=b']);
  const lines = new Map<string, readonly string[]>([
    [':method', [method]],
    [':path', [own + query]],
    [':authority', [host]],
    ['host', [host]],
  ]);
  for (const name of ['x-role', 'accept'])
    if (dice.isOneIn(2))
      lines.set(
        name,
        dice.list(1, 2, () => dice.pick(texts.filter((one) => !one.includes('\n')))),
      );
  return {
    method,
    path: own,
    host: host.toLowerCase(),
    sourceIp: dice.pick(addresses.filter((one) => !one.startsWith('::ffff'))),
    remoteIp: dice.pick(addresses),
    destinationIp: dice.pick(addresses.filter((one) => !one.startsWith('::ffff'))),
    destinationPort: dice.pick(ports),
    sni: dice.pick(hosts),
    peer: peer(dice),
    claims: claims(dice),
    header: (name) => lines.get(name) ?? [],
  };
}

const names = ['a', 'a-b', 'a.b', 'a1', 'b', 'b2', 'c', 'd10', 'd2', 'e'];

type Policies = readonly Document<AuthorizationPolicy>[];

function withRules(policies: Policies, change: (rule: Rule) => Rule): Policies {
  return policies.map((one) => {
    const rules = one.spec.rules?.map((rule) => change(rule as Rule));
    return { ...one, spec: { ...one.spec, ...(rules && { rules }) } };
  });
}

/** Gives most rules the same source and the same operation, so that only what else they ask for sets them apart. */
function likened(dice: Dice, policies: Policies): Policies {
  const from = [{ source: fields(dice, sourceFields) }];
  const to = [{ operation: fields(dice, operationFields) }];
  return withRules(policies, (one) => ({ ...one, ...(!dice.isOneIn(10) && { from }), ...(dice.isOneIn(2) && { to }) }));
}

/** Makes all rules ask for one field and nothing else, each for values of its own. */
function themed(dice: Dice, policies: Policies): Policies {
  const [source, operation] = [dice.pick(Object.keys(sourceFields)), dice.pick(Object.keys(operationFields))];
  const key = dice.pick(Object.keys(plainKeys));
  const of = (makers: typeof sourceFields, name: string): string[] => values(dice, makers[name] as (dice: Dice) => string);
  const make = dice.pick<() => Rule>([
    () => ({ from: [{ source: { [source]: of(sourceFields, source) } }] }),
    () => ({ to: [{ operation: { [operation]: of(operationFields, operation) } }] }),
    () => ({ to: [{ operation: { paths: [dice.pick(templates)] } }] }),
    () => ({ when: [{ key, values: of(plainKeys, key) }] }),
    () => ({ when: [condition(dice)] }),
  ]);
  return withRules(policies, make);
}

/** The world of a seed; every eighth has a hundred rules and more, as an index wants them. */
export function randomWorld(seed: number, requests = 20): RandomWorld {
  const dice = new Dice(seed);
  const root = dice.pick(['istio-system', 'istio-system', 'shop']);
  const own = dice.pick(['shop', 'shop', 'a.b', 'sho']);
  const target = {
    namespace: own,
    labels: dice.pick([{ app: 'api', version: 'v1' }, { app: 'api' }, {}]) as Record<string, string>,
  };
  const mesh = {
    trustDomain: dice.pick(trustDomains),
    trustDomainAliases: dice.list(0, 2, () => dice.pick(trustDomains)),
    rootNamespace: root,
  };
  const many = seed % 8 === 0 ? 60 : 1 + dice.below(6);
  const policies = Array.from({ length: many }, (_, index) =>
    policy(dice, many > names.length ? `p${index}` : (names[index] as string), own, root),
  );
  const arrange = many > names.length ? dice.pick([likened, themed, themed, undefined]) : undefined;
  return {
    target,
    mesh,
    policies: arrange?.(dice, policies) ?? policies,
    requests: Array.from({ length: requests }, () => request(dice)),
  };
}
