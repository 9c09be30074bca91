// The rule sets of the policy benchmark: of each shape, rule number `i` and the attributes of a request that only it matches.

const principal = (i) => `cluster.local/ns/shop/sa/client-${i}`;

/** The attributes of one request; what a shape does not set is the same for all. */
export function attributes(given) {
  const { method = 'GET', path = '/items', host = 'product.shop', account, namespace, claims, headers = {} } = given;
  const uri = `spiffe://cluster.local/ns/${namespace ?? 'shop'}/sa/${account ?? 'gateway'}`;
  const issuer = 'https://idp.example';
  const subject = claims?.sub ?? 'jane';
  return {
    method,
    path,
    pathSpellings: [],
    pathIgnoresCase: false,
    host,
    sourceIp: '10.0.0.1',
    remoteIp: '10.0.0.1',
    destinationIp: '10.0.0.2',
    destinationPort: 8080,
    sni: '',
    peer: { uri },
    user: {
      principal: `${issuer}/${subject}`,
      issuer,
      subject,
      audiences: ['shop'],
      presenter: undefined,
      claims: { iss: issuer, sub: subject, aud: 'shop', iat: 1, exp: 2, scope: ['read', 'write'], ...claims },
      payload: '',
      expiresAt: Infinity,
    },
    header: (name) => headers[name],
  };
}

const to = (operation) => [{ operation }];
const from = (source) => [{ source }];
const same = { from: from({ principals: [principal(0)] }), to: to({ methods: ['GET'], paths: ['/items'] }) };
const claim = (path, i) => [{ key: `request.auth.claims${path}`, values: [`group-${i}`] }];

/** name -> {rule(i), request(i)}: a request of a number beyond the set is a near miss of all its rules. */
export const plainShapes = {
  spread: {
    rule: (i) => ({
      from: from({ principals: [principal(i)] }),
      to: to({ methods: ['GET'], paths: [`/items/${i}/*`] }),
      when: claim('[group]', i),
    }),
    request: (i) => attributes({ account: `client-${i}`, path: `/items/${i}/a`, claims: { group: `group-${i}` } }),
  },
  'same principal': {
    rule: (i) => ({ from: from({ principals: [principal(0)] }), to: to({ methods: ['GET'], paths: [`/items/${i}`] }) }),
    request: (i) => attributes({ account: 'client-0', path: `/items/${i}` }),
  },
  'same path': {
    rule: (i) => ({ from: from({ principals: [principal(i)] }), to: to({ methods: ['GET'], paths: ['/items'] }) }),
    request: (i) => attributes({ account: `client-${i}` }),
  },
  claim: {
    rule: (i) => ({ ...same, when: claim('[group]', i) }),
    request: (i) => attributes({ account: 'client-0', claims: { group: `group-${i}` } }),
  },
  'list claim': {
    rule: (i) => ({ ...same, when: claim('[groups]', i) }),
    request: (i) => attributes({ account: 'client-0', claims: { groups: ['staff', `group-${i}`] } }),
  },
  'nested claim': {
    rule: (i) => ({ ...same, when: claim('[realm][groups]', i) }),
    request: (i) => attributes({ account: 'client-0', claims: { realm: { groups: [`group-${i}`] } } }),
  },
  'claim names': {
    rule: (i) => ({ ...same, when: [{ key: `request.auth.claims[role-${i}]`, values: ['yes'] }] }),
    request: (i) => attributes({ account: 'client-0', claims: { [`role-${i}`]: 'yes' } }),
  },
  'path prefixes': {
    rule: (i) => ({ to: to({ paths: [`/tenants/t${i}/*`] }) }),
    request: (i) => attributes({ path: `/tenants/t${i}/orders` }),
  },
  'path suffixes': {
    rule: (i) => ({ to: to({ paths: [`*/report-${i}.json`] }) }),
    request: (i) => attributes({ path: `/a/b/report-${i}.json` }),
  },
  'principal suffixes': {
    rule: (i) => ({ from: from({ principals: [`*/sa/client-${i}`] }), to: to({ paths: ['/items'] }) }),
    request: (i) => attributes({ account: `client-${i}` }),
  },
  templates: {
    rule: (i) => ({ to: to({ paths: [`/tenants/{*}/kind-${i}/{**}`] }) }),
    request: (i) => attributes({ path: `/tenants/acme/kind-${i}/x/y` }),
  },
  namespaces: {
    rule: (i) => ({ from: from({ namespaces: [`team-${i}`] }), to: to({ paths: ['/items'] }) }),
    request: (i) => attributes({ namespace: `team-${i}` }),
  },
  serviceAccounts: {
    rule: (i) => ({ from: from({ serviceAccounts: [`shop/client-${i}`] }), to: to({ paths: ['/items'] }) }),
    request: (i) => attributes({ account: `client-${i}` }),
  },
  hosts: {
    rule: (i) => ({ to: to({ hosts: [`tenant-${i}.example.com`], paths: ['/items'] }) }),
    request: (i) => attributes({ host: `tenant-${i}.example.com` }),
  },
  methods: {
    rule: (i) => ({ to: to({ methods: [i % 2 === 0 ? 'GET' : 'POST'], paths: [`/items/${i >> 1}`] }) }),
    request: (i) => attributes({ method: i % 2 === 0 ? 'GET' : 'POST', path: `/items/${i >> 1}` }),
  },
  headers: {
    rule: (i) => ({ ...same, when: [{ key: 'request.headers[x-tenant]', values: [`tenant-${i}`] }] }),
    request: (i) => attributes({ account: 'client-0', headers: { 'x-tenant': [`tenant-${i}`] } }),
  },
  requestPrincipals: {
    rule: (i) => ({ from: from({ requestPrincipals: [`https://idp.example/user-${i}`] }), to: to({ paths: ['/items'] }) }),
    request: (i) => attributes({ claims: { sub: `user-${i}` } }),
  },
  // No field tells more than a hundred rules apart: only two together do.
  'pairs of fields': {
    rule: (i) => ({ from: from({ principals: [principal(i % 100)] }), to: to({ paths: [`/items/${Math.floor(i / 100)}`] }) }),
    request: (i) => attributes({ account: `client-${i % 100}`, path: `/items/${Math.floor(i / 100)}` }),
  },
};

/** Kinds of rules that occur beside the others only in `mixed`. */
const moreKinds = {
  'principal prefixes': {
    rule: (i) => ({ from: from({ principals: [`cluster.local/ns/team-${i}/*`] }), to: to({ methods: ['GET'] }) }),
    request: (i) => attributes({ namespace: `team-${i}` }),
  },
  'exact paths': {
    rule: (i) => ({ to: to({ paths: [`/pages/${i}`] }) }),
    request: (i) => attributes({ path: `/pages/${i}` }),
  },
  addresses: {
    rule: (i) => ({ from: from({ ipBlocks: ['10.0.0.0/8'] }), to: to({ paths: [`/intern/${i}/*`] }) }),
    request: (i) => attributes({ path: `/intern/${i}/a` }),
  },
  ports: {
    rule: (i) => ({ to: to({ ports: ['8080'], paths: [`/ports/${i}`] }) }),
    request: (i) => attributes({ path: `/ports/${i}` }),
  },
  'negative values': {
    rule: (i) => ({
      from: from({ notNamespaces: ['guests'] }),
      to: to({ methods: ['GET'], paths: [`/open/${i}/*`], notPaths: [`/open/${i}/secret*`] }),
    }),
    request: (i) => attributes({ path: `/open/${i}/a` }),
  },
};

const allKinds = { ...plainShapes, ...moreKinds };
const kinds = [
  ...['spread', 'principal prefixes', 'principal suffixes', 'namespaces', 'serviceAccounts', 'exact paths', 'path prefixes'],
  ...['path suffixes', 'templates', 'hosts', 'methods', 'headers', 'claim', 'list claim', 'nested claim', 'requestPrincipals'],
  ...['addresses', 'ports', 'negative values'],
];
const mixedOf = (i) => allKinds[kinds[i % kinds.length]];

/** The plain shapes and, of rules of all these kinds in turn, `mixed`: it is asked for a rule of each kind, and the worst of them counts. */
export const shapes = {
  ...plainShapes,
  mixed: { rule: (i) => mixedOf(i).rule(i), request: (i) => mixedOf(i).request(i), kinds: kinds.length },
};

/** An AuthorizationPolicy document with rules 0 to size - 1 of a shape. */
export function policyOf(shape, size, action) {
  return {
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: 'rules', namespace: 'shop' },
    spec: { action, rules: Array.from({ length: size }, (_, i) => shape.rule(i)) },
  };
}
