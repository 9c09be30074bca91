/** Chooses by a seed; the same seed makes the same world. */
export class Dice {
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

export const trustDomains = ['cluster.local', 'prod.example', 'old.example', 'clusterXlocal', 'local'];
export const namespaces = ['shop', 'shop2', 'sho', 'istio-system', 'a.b'];
export const accounts = ['gateway', 'gateway2', 'my.sa', 'myXsa', 'product'];
export const paths = [
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
export const templates = [
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
export const hosts = ['api.example.com', 'api.example.com:80', 'example.com', '', 'apiXexample.com', '[::1]:80'];
export const methods = ['GET', 'POST', 'get', 'PROPFIND', 'PUT'];
export const ports = [8080, 808, 80, 443];
export const addresses = [
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
export const issuers = ['https://idp.example', 'https://idp.example/', 'https://idp.example/realms/a', 'me', ''];
export const subjects = ['alice', 'alice/x', 'al', '', '*'];
export const texts = ['admin', 'Admin', 'adm', 'admin2', '', '*', 'a b', 'ad\nmin', 'ad.min', 'a*b', '*x*'];
export const headerNames = ['x-role', 'X-Role', 'accept', ':method', ':path', ':authority', 'host', 'x-other'];
export const claimNames = [
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
export function near(dice: Dice, text: string): string {
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

export const path = (dice: Dice): string =>
  dice.isOneIn(3) ? dice.pick(templates) : near(dice, dice.pick(paths.filter((one) => !/[{}]/.test(one))));
const namespace = (dice: Dice): string =>
  dice.isOneIn(4) ? `${dice.pick(namespaces).slice(0, 2)}*${dice.pick(namespaces).slice(2)}*` : near(dice, dice.pick(namespaces));
const block = (dice: Dice): string => dice.pick([...blocks, ...addresses]);
const port = (dice: Dice): string => dice.pick(['8080', '808', '80', '443', '8081', '0', '08080', '65535']);
export const text = (dice: Dice): string => near(dice, dice.pick(texts));

export const sourceFields: Readonly<Record<string, (dice: Dice) => string>> = {
  principals: principal,
  requestPrincipals: requestPrincipal,
  namespaces: namespace,
  serviceAccounts: serviceAccount,
  trustDomains: trustDomain,
  ipBlocks: block,
  remoteIpBlocks: block,
};

export const operationFields: Readonly<Record<string, (dice: Dice) => string>> = {
  hosts: (dice) => near(dice, dice.pick(hosts)),
  ports: port,
  methods: (dice) => near(dice, dice.pick(methods)),
  paths: path,
};

export const plainKeys: Readonly<Record<string, (dice: Dice) => string>> = {
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
