import type { AuthorizationPolicy, Condition, Facts, Rule } from './authorization-policy.js';
import type { Claims } from './token.js';
import type { Document, MeshFields, Target } from './world.js';

/** A world made from one seed: policies and requests that brush against each other. */
export interface RandomWorld {
  readonly target: Target;
  readonly mesh: MeshFields;
  readonly policies: readonly Document<AuthorizationPolicy>[];
  readonly requests: readonly Facts[];
}

/** Chooses by a seed; the same seed makes the same world. */
class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = Math.imul(seed, 0x9e3779b1) ^ 0x5bd1e995;
  }

  /** A number from 0 up to, without, `bound` (mulberry32). */
  below(bound: number): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * bound);
  }

  isOneIn(many: number): boolean {
    return this.below(many) === 0;
  }

  pick<Item>(items: readonly Item[]): Item {
    return items[this.below(items.length)] as Item;
  }

  list<Item>(least: number, most: number, make: () => Item): Item[] {
    return Array.from({ length: least + this.below(most - least + 1) }, make);
  }
}

const trustDomains = ['cluster.local', 'prod.example', 'old.example', 'clusterXlocal', 'local'];
const namespaces = ['shop', 'shop2', 'sho', 'istio-system', 'a.b'];
const accounts = ['gateway', 'gateway2', 'my.sa', 'myXsa', 'product'];
const paths = [
  '/',
  '/a',
  '/a/',
  '/a/b',
  '/a/b/c',
  '/a//b',
  '/A/b',
  '/admin',
  '/admin/x.json',
  '/a%2Fb',
  '/a/[b]',
  '/a/b=c;d',
  '/*',
  '/a*b',
  '/a/x/b',
  '/a/x/y/b',
  '/%22',
];
const templates = [
  '/{*}',
  '/{**}',
  '/a/{*}',
  '/a/{**}',
  '/{*}/b',
  '/a/{*}/b',
  '/a/{**}/b',
  '/{*}/{**}',
  '/a/{*}/c',
  '/admin/{**}/x.json',
  '/{*}/{*}/c',
  '/a/{*}/',
];
const hosts = ['api.example.com', 'api.example.com:80', 'example.com', '', 'apiXexample.com', '[::1]:80'];
const methods = ['GET', 'POST', 'get', 'PROPFIND', 'PUT'];
const ports = [8080, 808, 80, 443];
const addresses = [
  '10.0.0.1',
  '10.0.0.2',
  '10.1.0.1',
  '127.0.0.1',
  '255.255.255.255',
  '2001:db8::1',
  '2001:db8::2',
  '::1',
  '::ffff:10.0.0.1',
  'fe80::1',
];
const blocks = [
  '10.0.0.1',
  '10.0.0.0/8',
  '10.0.0.1/31',
  '10.0.0.0/24',
  '0.0.0.0/0',
  '127.0.0.0/30',
  '2001:db8::/32',
  '2001:0DB8:0:0::1',
  '::/0',
  '::ffff:10.0.0.0/104',
  '2001:db8::1/127',
  '::1/128',
  '10.0.0.1/32',
  '::ffff:0:0/96',
];
const issuers = ['https://idp.example', 'https://idp.example/', 'https://idp.example/realms/a', 'me', ''];
const subjects = ['alice', 'alice/x', 'al', '', '*'];
const texts = ['admin', 'Admin', 'adm', 'admin2', '', '*', 'a b', 'ad\nmin', 'ad.min', 'a*b', '*x*'];
const headerNames = ['x-role', 'X-Role', 'accept', ':method', ':path', ':authority', 'host', 'x-other'];
const claimNames = [
  '[groups][0]',
  '[groups]',
  '[role]',
  '[a][b]',
  '[a.b]',
  '[scope]',
  '[a]',
  '[deep][er][est]',
  '[__proto__]',
  '[iss]',
  '[constructor][name]',
];

/** A value that nearly, or by a wildcard, is `text`. */
function near(dice: Dice, text: string): string {
  const cut = 1 + dice.below(Math.max(1, text.length));
  const made = dice.pick([
    () => text,
    () => text,
    () => text,
    () => `${text.slice(0, cut)}*`,
    () => `*${text.slice(cut - 1)}`,
    () => '*',
    () => `${text}x`,
    () => text.slice(0, -1),
    () => text.toUpperCase(),
    () => text.replace('.', 'X'),
    () => `${text.slice(0, cut)}*${text.slice(cut)}`,
    () => `*${text.slice(cut - 1, -1)}*`,
    () => `${text}*`,
    () => `*${text}`,
    () => `${text.slice(0, cut)}[a-z]${text.slice(cut)}`,
  ])();
  // An empty value is refused when the document is read.
  return made === '' ? '*' : made;
}

function principal(dice: Dice): string {
  const [domain, namespace, account] = [dice.pick(trustDomains), dice.pick(namespaces), dice.pick(accounts)];
  return dice.pick([
    `${domain}/ns/${namespace}/sa/${account}`,
    `${domain}/ns/${namespace}/sa/${account}`,
    `*/ns/${namespace}/sa/${account}`,
    `*/sa/${account}`,
    `${domain}/ns/${namespace}/*`,
    `${domain}/*`,
    `*${domain.slice(2)}/ns/${namespace}/sa/${account}`,
    `${domain.slice(0, 3)}*/ns/${namespace}/sa/${account}`,
    `*${domain.slice(1)}/ns/${namespace}/*`,
    `spiffe://${domain}/ns/${namespace}/sa/${account}`,
    near(dice, `${domain}/ns/${namespace}/sa/${account}`),
    `*ns/${namespace}/sa/${account}`,
  ]);
}

function serviceAccount(dice: Dice): string {
  const account = dice.pick([...accounts, 'a/b', 'x']);
  if (account.includes('/')) return account;
  return dice.isOneIn(2) ? account : `${dice.pick(namespaces)}/${account}`;
}

function trustDomain(dice: Dice): string {
  const domain = dice.pick(trustDomains);
  const cut = 1 + dice.below(domain.length);
  return dice.pick([domain, domain, '*', `${domain.slice(0, cut)}*`, `*${domain.slice(cut - 1)}`, `${domain}x`]);
}

function requestPrincipal(dice: Dice): string {
  const [issuer, subject] = [dice.pick(issuers), dice.pick(subjects)];
  const made = dice.pick([
    `${issuer}/${subject}`,
    `${issuer}/${subject}`,
    `${issuer}/*`,
    `*/${subject}`,
    `*${issuer.slice(3)}/${subject}`,
    `${issuer}/${subject.slice(0, 2)}*`,
    `${issuer}*`,
    `*${subject}`,
    '*/*',
    '*',
    issuer,
    near(dice, `${issuer}/${subject}`),
  ]);
  return made === '' ? '*' : made;
}

const path = (dice: Dice): string =>
  dice.isOneIn(3) ? dice.pick(templates) : near(dice, dice.pick(paths.filter((one) => !/[{}]/.test(one))));
const namespace = (dice: Dice): string =>
  dice.isOneIn(4) ? `${dice.pick(namespaces).slice(0, 2)}*${dice.pick(namespaces).slice(2)}*` : near(dice, dice.pick(namespaces));
const block = (dice: Dice): string => dice.pick([...blocks, ...addresses]);
const port = (dice: Dice): string => dice.pick(['8080', '808', '80', '443', '8081', '0', '08080', '65535']);
const text = (dice: Dice): string => near(dice, dice.pick(texts));

const sourceFields: Readonly<Record<string, (dice: Dice) => string>> = {
  principals: principal,
  requestPrincipals: requestPrincipal,
  namespaces: namespace,
  serviceAccounts: serviceAccount,
  trustDomains: trustDomain,
  ipBlocks: block,
  remoteIpBlocks: block,
};

const operationFields: Readonly<Record<string, (dice: Dice) => string>> = {
  hosts: (dice) => near(dice, dice.pick(hosts)),
  ports: port,
  methods: (dice) => near(dice, dice.pick(methods)),
  paths: path,
};

const plainKeys: Readonly<Record<string, (dice: Dice) => string>> = {
  'source.ip': block,
  'remote.ip': block,
  'source.namespace': namespace,
  'source.principal': principal,
  'source.serviceAccount': serviceAccount,
  'source.trustDomain': trustDomain,
  'request.auth.principal': requestPrincipal,
  'request.auth.audiences': text,
  'request.auth.presenter': text,
  'destination.ip': block,
  'destination.port': port,
  'connection.sni': (dice) => near(dice, dice.pick(hosts)),
};

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

/** The world of a seed; every twentieth has hundreds of rules, as an index wants them. */
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
  const many = seed % 20 === 0 ? 120 : 1 + dice.below(6);
  const policies = Array.from({ length: many }, (_, index) =>
    policy(dice, many > names.length ? `p${index}` : (names[index] as string), own, root),
  );
  return { target, mesh, policies, requests: Array.from({ length: requests }, () => request(dice)) };
}
