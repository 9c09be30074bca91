// Other engines on the rules of shape `spread`: caller, method, path prefix and one claim of the user.
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { createMongoAbility } from '@casl/ability';
import { newEnforcer, newModel, StringAdapter } from 'casbin';
import { nanoseconds } from './measure.mjs';

const model = `
[request_definition]
r = client, method, path, group
[policy_definition]
p = client, method, path, group
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = r.client == p.client && r.method == p.method && keyMatch(r.path, p.path) && r.group == p.group
`;

const numbers = (size) => Array.from({ length: size }, (_, i) => i);

async function createCasbin(size) {
  const lines = numbers(size).map((i) => `p, client-${i}, GET, /items/${i}/*, group-${i}`);
  const enforcer = await newEnforcer(newModel(model), new StringAdapter(lines.join('\n')));
  return (i) => () => enforcer.enforceSync(`client-${i}`, 'GET', `/items/${i}/a`, `group-${i}`);
}

async function createCasl(size) {
  const ability = createMongoAbility(
    numbers(size).map((i) => ({
      action: 'GET',
      subject: 'request',
      conditions: { client: `client-${i}`, path: { $regex: `^/items/${i}/` }, group: `group-${i}` },
    })),
    { detectSubjectType: () => 'request' },
  );
  return (i) => () => ability.can('GET', { client: `client-${i}`, path: `/items/${i}/a`, group: `group-${i}` });
}

const engines = { casbin: createCasbin, '@casl/ability': createCasl };

/** Rows of one engine after the other, each `{engine, size, hit, miss, load}`; casl walks from its last rule, so that its hit is the best case. */
export async function measurePeers(sizes, ms) {
  const rows = [];
  for (const [engine, create] of Object.entries(engines)) {
    for (const size of sizes) {
      const start = performance.now();
      const decide = await create(size);
      const load = performance.now() - start;
      if (!decide(size - 1)() || decide(size)()) throw new Error(`${engine} decides otherwise`);
      rows.push({ engine, size, hit: nanoseconds(decide(size - 1), ms), miss: nanoseconds(decide(size), ms), load });
    }
  }
  return [...rows, ...(await measureCedar(sizes))];
}

/** How long cedar may take for all its sizes; what it has not printed by then is left out. */
const cedarMs = 60_000;

/** cedar-wasm's rows, as many as its process printed before it ended, however it ended. */
async function measureCedar(sizes) {
  const engine = '@cedar-policy/cedar-wasm';
  const child = spawn(process.execPath, [fileURLToPath(new URL('cedar.mjs', import.meta.url)), ...sizes.map(String)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  child.stdout.on('data', (chunk) => (output += chunk));
  child.stderr.resume();
  const timer = setTimeout(() => child.kill(), cedarMs);
  const [code, signal] = await new Promise((done) => child.once('close', (...how) => done(how)));
  clearTimeout(timer);
  if (code !== 0) console.log(`${engine} ended early (${signal ?? `exit code ${code}`}): its rows are those measured before`);
  return output
    .split('\n')
    .filter((line) => line.endsWith('}'))
    .map((line) => ({ engine, ...JSON.parse(line) }));
}
