// Tokens that nobody has seen before, COUNT of each kind, at one verifier in a process of its own: good ones, forged ones, unknown keys. Prints what they left behind.
// With `bare` as second argument the same tokens go to crypto.verify alone: what Node itself keeps of as many signatures.
import { generateKeyPairSync, randomBytes, sign, verify } from 'node:crypto';
import { createKeySets } from '../../packages/core/dist/jwt/key-sets.js';
import { compileJwtRules } from '../../packages/core/dist/jwt/rules.js';
import { createJwtVerifier, createTokenMemo } from '../../packages/core/dist/jwt/verify.js';

const count = Number(process.argv[2]);
const isBare = process.argv[3] === 'bare';
const issuer = 'https://idp.test';
const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const body = JSON.stringify({ keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'key-1' }] });
const meta = { kind: 'RequestAuthentication', namespace: 'shop', name: 'jwt', creationTimestamp: 0, labels: {}, annotations: {} };
const policy = {
  meta: { ...meta, source: { file: 'flood', line: 1, column: 1 } },
  spec: { jwtRules: [{ issuer, jwksUri: `${issuer}/jwks` }] },
};
const rules = compileJwtRules([policy], { namespace: 'shop', labels: {} }, 'istio-system');
let fetches = 0;
const fetchText = async () => (fetches++, { status: 200, contentType: 'application/json', body });
const keySets = createKeySets({ insecureHttp: () => false, fetchText });
keySets.use(rules);
await keySets.ready();
const verifier = createJwtVerifier({ keySets });
const memos = Array.from({ length: 20 }, () => createTokenMemo());

const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const exp = Math.floor(Date.now() / 1000) + 3600;
const token = (kid, index, signature) => {
  const input = `${encode({ alg: 'ES256', kid })}.${encode({ iss: issuer, sub: `user-${index}`, exp, jti: `${index}`, scope: 'openid email' })}`;
  return `${input}.${(signature ?? sign('sha256', Buffer.from(input), { key: privateKey, dsaEncoding: 'ieee-p1363' })).toString('base64url')}`;
};
const kinds = {
  good: (index) => token('key-1', index),
  forged: (index) => token('key-1', index, randomBytes(64)),
  unknown: (index) => token(`kid-${index}`, index, randomBytes(64)),
};

const mebibytes = () => {
  for (let i = 0; i < 3; i++) globalThis.gc();
  const { rss, heapUsed, external } = process.memoryUsage();
  return { rss: rss / 2 ** 20, held: (heapUsed + external) / 2 ** 20 };
};

/** Whether a request with this line is let in as a user. */
function isAccepted(line, memo) {
  if (isBare) {
    const end = line.lastIndexOf('.');
    const [data, signature] = [Buffer.from(line.slice('Bearer '.length, end)), Buffer.from(line.slice(end + 1), 'base64url')];
    return verify('sha256', data, { key: publicKey, dsaEncoding: 'ieee-p1363' }, signature);
  }
  const lines = [line];
  const source = { query: '', header: (name) => (name === 'authorization' ? lines : undefined) };
  const outcome = verifier.verify(rules, source, Date.now(), memo);
  return outcome.ok && outcome.user !== undefined;
}

/** `times` requests with tokens of a kind; CPU seconds, and how many were accepted. */
function flood(make, from, times) {
  const start = process.cpuUsage();
  let accepted = 0;
  for (let index = from; index < from + times; index++) {
    if (isAccepted(`Bearer ${make(index)}`, memos[index % 20])) accepted++;
  }
  const { user, system } = process.cpuUsage(start);
  return { accepted, seconds: (user + system) / 1e6 };
}

/** CPU seconds of work that never changes, beside each round: a busy machine slows both. */
function control() {
  const data = Buffer.alloc(200, 7);
  const key = { key: privateKey, dsaEncoding: 'ieee-p1363' };
  const start = process.cpuUsage();
  for (let index = 0; index < 300; index++) verify('sha256', data, { ...key, key: publicKey }, sign('sha256', data, key));
  const { user, system } = process.cpuUsage(start);
  return (user + system) / 1e6;
}

const started = Date.now();
const rounded = (value) => Number(value.toFixed(2));
const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];
const result = {};
for (const [kind, make] of Object.entries(kinds)) {
  // The caches fill first (10 000 entries are their bound), and the heap finds its size.
  const warm = Math.max(12_000, count / 5);
  flood(make, 0, warm);
  const points = [mebibytes()];
  const costs = [];
  let accepted = 0;
  for (let round = 0; round < 10; round++) {
    const before = control();
    const done = flood(make, warm + (round * count) / 10, count / 10);
    costs.push(done.seconds / (before + control()));
    accepted += done.accepted;
    if (round === 4 || round === 9) points.push(mebibytes());
    await new Promise((next) => setImmediate(next));
  }
  const [first, , last] = points;
  result[kind] = {
    accepted,
    heldMib: rounded(last.held - first.held),
    rssMib: rounded(last.rss - first.rss),
    rssPoints: points.map(({ rss }) => Math.round(rss)),
    throughputRatio: rounded(median(costs.slice(0, 3)) / median(costs.slice(-3))),
  };
}
console.log(JSON.stringify({ count, fetches, minutes: rounded((Date.now() - started) / 60_000), ...result }));
keySets.close();
