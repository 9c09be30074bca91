// What carrying the user by HOP costs, as the difference of CPU time per call between paired rounds: the same calls with a user and without one. Caller and
// receiver are one process, so the figure is what both of them pay.
import { createMesh } from '@enmesh/core';
import { createTestAuthority, createTestIssuer } from '@enmesh/core/testing';
import { printGoal } from '../goals.mjs';
import { medianInterval } from '../statistics.mjs';

const concurrency = 16;

const documents = (issuer, port) => `
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: users, namespace: shop}
spec: {selector: {matchLabels: {app: gateway}}, jwtRules: [{issuer: "${issuer.issuer}", jwks: '${issuer.jwksText}'}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: product, namespace: shop}
spec:
  hosts: [product.shop.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: ${port}}]
  endpoints: [{address: 127.0.0.1, serviceAccount: product}]
`;

const propagation = (issuer) => `
apiVersion: enmesh.dev/v1
kind: TokenPropagation
metadata: {name: gateway, namespace: shop}
spec: {selector: {matchLabels: {app: gateway}}, outbound: [{hosts: [product], mode: HOP, claims: [groups]}]}
---
apiVersion: enmesh.dev/v1
kind: TokenPropagation
metadata: {name: product, namespace: shop}
spec: {selector: {matchLabels: {app: product}}, inbound: [{principals: [cluster.local/ns/shop/sa/gateway], issuers: ["${issuer.issuer}"]}]}
`;

/** Two services of one mesh, and the contexts of requests that the gateway had: without a user, and of `users` users. */
async function createWorld(users) {
  const [authority, issuer] = await Promise.all([createTestAuthority(), createTestIssuer()]);
  let port = 1;
  const config = {
    read: async () => [
      { name: 'a.yaml', text: documents(issuer, port) },
      { name: 'enmesh/b.yaml', text: propagation(issuer) },
    ],
    watch: () => () => {},
  };
  const join = async (name) => {
    const workload = { namespace: 'shop', serviceAccount: name };
    const identity = await authority.identity(workload);
    return createMesh({ ...workload, labels: { app: name }, config, identity, log: false, env: {} });
  };
  const [gateway, product] = [await join('gateway'), await join('product')];
  let known = 0;
  const listen = (server) => new Promise((done) => server.listen(0, '127.0.0.1', () => done(server.address().port)));
  port = await listen(
    product.createServer((request, response) => {
      if (request.enmesh.user !== undefined) known += 1;
      response.end('ok');
    }),
  );
  await Promise.all([gateway.reload(), product.reload()]);
  const contexts = [];
  const door = await listen(
    gateway.createServer((_request, response) => {
      contexts.push(gateway.context());
      response.end();
    }),
  );
  await fetch(`http://127.0.0.1:${door}`);
  for (let n = 0; n < users; n++) {
    const token = await issuer.sign({ sub: `user-${n}`, groups: ['staff'] });
    await (await fetch(`http://127.0.0.1:${door}`, { headers: { authorization: `Bearer ${token}` } })).text();
  }
  const [nobody, ...somebody] = contexts;
  return { gateway, nobody, somebody, known: () => known, close: () => Promise.all([gateway.close(), product.close()]) };
}

/** CPU time per call, in microseconds. */
async function measure({ gateway }, contexts, calls) {
  let left = calls;
  const before = process.cpuUsage();
  const work = async () => {
    while (left-- > 0) {
      const call = () => gateway.request('http://product.shop.svc.cluster.local/');
      const { body } = await gateway.runAs(contexts[left % contexts.length], call);
      await body.dump();
    }
  };
  await Promise.all(Array.from({ length: concurrency }, work));
  const { user, system } = process.cpuUsage(before);
  return (user + system) / calls;
}

async function compare(users, { rounds, calls }) {
  const world = await createWorld(users);
  await measure(world, [world.nobody], calls);
  await measure(world, world.somebody, calls);
  const before = world.known();
  const [alone, carried, ratios, differences] = [[], [], [], []];
  for (let round = 0; round < rounds; round++) {
    // Which comes first changes from round to round.
    const order = round % 2 === 0 ? [true, false] : [false, true];
    for (const isCarried of order)
      (isCarried ? carried : alone).push(await measure(world, isCarried ? world.somebody : [world.nobody], calls));
    differences.push(carried.at(-1) - alone.at(-1));
    ratios.push(carried.at(-1) / alone.at(-1));
  }
  if (world.known() - before !== rounds * calls) throw new Error('some calls did not carry their user');
  await world.close();
  return {
    users,
    alone: medianInterval(alone),
    carried: medianInterval(carried),
    ratio: medianInterval(ratios),
    cost: medianInterval(differences),
  };
}

const write = ({ median, low, high }, digits = 0) =>
  `${median.toFixed(digits)} (${low.toFixed(digits)} to ${high.toFixed(digits)})`;

/** Answers how many goals were missed. */
export async function run({ quick, json }) {
  const size = quick ? { rounds: 10, calls: 500 } : { rounds: 30, calls: 2000 };
  const results = [await compare(1, size), await compare(100, size)];
  if (json) console.log(JSON.stringify(results));
  for (const { users, alone, carried, ratio, cost } of json ? [] : results) {
    console.log(
      `${users} user${users === 1 ? '' : 's'}, CPU per call of both ends: alone ${write(alone)} us, by HOP ${write(carried)} us`,
    );
    console.log(`  HOP costs ${write(cost)} us, ratio ${write(ratio, 3)}`);
  }
  return printGoal('a warm hop costs', Math.round(results[0].cost.median), 60, ' us');
}
