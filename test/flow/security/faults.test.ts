import { connect as connectTcp } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { EnmeshError, noticeEvents, type MeshIdentity, type X509Svid } from '@enmesh/core';
import { createTestAuthority } from '@enmesh/core/testing';
import { openWitness, transcribe, type Witness } from '../../support/attack.js';
import { connect, createHouse, send, type House } from '../../support/house.js';

// Callbacks of Node that throw (ALPN, sources, options): packages/core/src/tls/accept-faults.test.ts.
// Files written in place or half: packages/core/src/config/reload.test.ts; every way a document can be wrong: config/validate*.test.ts.
const head = (mode: string): string => `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: ${mode}}}
---
`;
const policy = (spec: string): string => `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: guard, namespace: shop}
spec: ${spec}
`;
const tokens = `apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: users, namespace: shop}
spec: {jwtRules: [{issuer: ISSUER, jwks: 'JWKS'}]}
---
`;

const houses: House[] = [];
const house = async (...given: Parameters<typeof createHouse>): Promise<House> => {
  const one = await createHouse(...given);
  houses.push(one);
  return one;
};
afterEach(() => Promise.all(houses.splice(0).map((one) => one.close())));

describe('rule 10: what throws or cannot be told denies', () => {
  it.each<[string, () => number]>([
    [
      'throws',
      () => {
        throw new Error('no time');
      },
    ],
    ['is no number', () => Number.NaN],
    ['gives nothing', () => undefined as unknown as number],
  ])('a clock that %s lets no token and no peer pass', async (_what, broken) => {
    let clock: () => number = Date.now;
    const one = await house(
      `${head('PERMISSIVE')}${tokens}${policy('{rules: [{from: [{source: {requestPrincipals: ["*"]}}]}, {from: [{source: {principals: ["*"]}}]}]}')}`,
      { clock: () => clock() },
    );
    const { port, reached } = await openWitness(one.mesh);
    const token = await one.issuer.sign({ sub: 'jane' });
    const bearer = [['Authorization', `Bearer ${token}`]] as const;
    expect((await send({ port }, 'GET', '/', bearer)).status).toBe(200);
    clock = broken;
    expect((await send({ port }, 'GET', '/', bearer)).status).not.toBe(200);
    const answer = await send({ port, as: await one.svid('gateway'), roots: [one.authority.rootPem] }, 'GET', '/');
    expect([0, 500]).toContain(answer.status);
    clock = Date.now;
    expect((await send({ port }, 'GET', '/', bearer)).status).toBe(200);
    expect(reached).toHaveLength(2);
  });

  it('an identity source that breaks refuses connections both ways and conditions on our own identity, and says nothing of what it threw', async () => {
    const authority = await createTestAuthority();
    const good = await authority.identity({ namespace: 'shop', serviceAccount: 'product' });
    const secret = '-----BEGIN PRIVATE KEY-----';
    let isBroken = false;
    const source = <T>(inner: { current(): T; watch(tell: (value: T) => void): () => void }) => ({
      current() {
        if (isBroken) throw new Error(secret);
        return inner.current();
      },
      watch: inner.watch.bind(inner),
    });
    const identity: MeshIdentity = { svid: source(good.svid), bundles: source(good.bundles) };
    const transcript = transcribe();
    const one = await house(
      `${head('STRICT')}${policy('{action: DENY, rules: [{to: [{operation: {paths: ["/cert"]}}], when: [{key: "request.headers[x-forwarded-client-cert]", values: ["nobody"]}]}]}')}`,
      { identity },
    );
    const { port, reached } = await openWitness(one.mesh);
    const as = await authority.issue({ namespace: 'shop', serviceAccount: 'gateway' });
    const socket = connect({ port, as, roots: [authority.rootPem] });
    const ask = (path: string): Promise<string> =>
      new Promise((done) => {
        socket.once('data', (chunk: Buffer) => done(chunk.toString('latin1').slice(9, 12)));
        socket.write(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`);
      });
    expect(await ask('/cert')).toBe('200');
    isBroken = true;
    expect(await ask('/cert')).toBe('403');
    expect((await send({ port, as, roots: [authority.rootPem] }, 'GET', '/')).bytes).toBe('');
    await expect(one.mesh.request('http://product.shop.svc.cluster.local/')).rejects.toThrow();
    isBroken = false;
    expect(await ask('/cert')).toBe('200');
    socket.destroy();
    expect(reached).toHaveLength(2);
    expect(transcript.text()).not.toContain(secret);
    transcript.stop();
  });

  it('without an identity nobody is served, and no call leaves', async () => {
    const none = (): never => {
      throw new EnmeshError('ENMESH_IDENTITY_NONE', 'there is none yet');
    };
    const authority = await createTestAuthority();
    const good = await authority.identity({ namespace: 'shop', serviceAccount: 'product' });
    let current: () => X509Svid = none;
    let tell: (svid: X509Svid) => void = () => {};
    const svid = { current: () => current(), watch: (listener: typeof tell) => ((tell = listener), () => {}) };
    const building = house(head('STRICT'), { identity: { svid, bundles: good.bundles } });
    await new Promise((done) => setImmediate(done));
    current = () => good.svid.current();
    const waiting = setInterval(() => tell(good.svid.current()), 5);
    const one = await building;
    clearInterval(waiting);
    current = none;
    const { port, reached } = await openWitness(one.mesh);
    const as = await authority.issue({ namespace: 'shop', serviceAccount: 'gateway' });
    expect((await send({ port, as, roots: [authority.rootPem] }, 'GET', '/')).bytes).toBe('');
    current = () => good.svid.current();
    expect((await send({ port, as, roots: [authority.rootPem] }, 'GET', '/')).status).toBe(200);
    expect(reached).toHaveLength(1);
  });

  it("a handler that throws is the process' matter as in plain Node, and opens nothing", async () => {
    const one = await house(
      `${head('PERMISSIVE')}${policy('{action: DENY, rules: [{to: [{operation: {paths: ["/private"]}}]}]}')}`,
    );
    const thrown: unknown[] = [];
    const keep = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    process.on('uncaughtException', (error) => thrown.push(error));
    const reached: (string | undefined)[] = [];
    const server = one.mesh.createServer((request) => {
      reached.push(request.url);
      throw new Error('the application');
    });
    await new Promise<void>((done) => void server.listen(0, '127.0.0.1', done));
    const { port } = server.address() as { port: number };
    const socket = connectTcp(port, '127.0.0.1');
    socket.write('GET /public HTTP/1.1\r\nHost: a\r\n\r\n');
    expect((await send({ port }, 'GET', '/private')).status).toBe(403);
    socket.destroy();
    process.removeAllListeners('uncaughtException');
    for (const listener of keep) process.on('uncaughtException', listener as NodeJS.UncaughtExceptionListener);
    expect(thrown).toHaveLength(1);
    expect(reached).toEqual(['/public']);
  });
});

describe('rule 9: a reload is whole or does not happen', () => {
  const closed = `${head('PERMISSIVE')}${policy('{rules: [{to: [{operation: {paths: ["/open"]}}]}]}')}`;
  let shared: House;
  let witness: Witness;
  let rejected = 0;
  let stop: () => void;
  beforeAll(async () => {
    shared = await createHouse(closed);
    witness = await openWitness(shared.mesh);
    stop = noticeEvents.subscribe(({ kind }) => void (rejected += Number(kind === 'config-rejected')));
  });
  beforeEach(async () => {
    await shared.write('more.yaml', '');
    await shared.write('policies.yaml', closed);
    rejected = 0;
  });
  afterAll(async () => {
    stop();
    await shared.close();
  });
  const stillClosed = async (): Promise<void> => {
    expect((await send({ port: witness.port }, 'GET', '/open')).status).toBe(200);
    expect((await send({ port: witness.port }, 'GET', '/other')).status).toBe(403);
  };

  it.each([
    ['an unknown field', closed.replace('paths:', 'path:')],
    ['an unknown field beside a good one', closed.replace('paths: ["/open"]', 'paths: ["/open"], pathz: ["/x"]')],
    ['an unknown action', closed.replace('spec: {rules', 'spec: {action: PERMIT, rules')],
    ['an action in lower case', closed.replace('spec: {rules', 'spec: {action: allow, rules')],
    ['an unknown mode', closed.replace('PERMISSIVE', 'permissive')],
    [
      "an unknown kind of Istio's security",
      `${closed}---\napiVersion: security.istio.io/v1\nkind: AuthorisationPolicy\nmetadata: {name: a, namespace: shop}\nspec: {}\n`,
    ],
    ['an unknown version', closed.replaceAll('security.istio.io/v1', 'security.istio.io/v2')],
    ['an unknown condition', closed.replace('[{to:', '[{when: [{key: "source.whatever", values: ["a"]}]}, {to:')],
    ['a second document of the same name', `${closed}---\n${policy('{}')}`],
    ['a key that stands twice', closed.replace('spec: {rules', 'spec: {rules: [{}], rules')],
    ['a __proto__ key', closed.replace('spec: {rules', 'spec: {__proto__: {action: DENY}, rules')],
    ['half of the file', closed.slice(0, -20)],
    ['a tab', closed.replace('spec:', '\tspec:')],
    ['NUL', closed.replace('guard', 'gu\0ard')],
    [
      'an alias bomb',
      `${closed}---\na: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d,*d,*d]\n`,
    ],
    ['deep nesting', `${closed}---\n${'['.repeat(5000)}`],
  ])('with %s the policies that were stay, and a good edit beside it waits', async (_what, broken) => {
    await shared.write('policies.yaml', broken);
    await stillClosed();
    await shared.write('policies.yaml', closed);
    await shared.write('more.yaml', broken.replaceAll('name: guard', 'name: again').replaceAll('name: default', 'name: also'));
    await stillClosed();
    await shared.write('policies.yaml', head('PERMISSIVE'));
    await stillClosed();
    expect(rejected).toBeGreaterThan(0);
  });

  it.each(['.*', '.+', '/op.n', '/(open|other)', '/ope[n]', '/oth\\w+', '(a+)+$', '/o?her', '/*/*', '^/other$', '/other|'])(
    'a policy value that looks like the expression %s is the text it is',
    async (value) => {
      await shared.write(
        'policies.yaml',
        `${head('PERMISSIVE')}${policy(`{rules: [{to: [{operation: {paths: [${JSON.stringify(value)}]}}]}]}`)}`,
      );
      expect(rejected).toBe(0);
      for (const path of ['/open', '/other', '/oher', `/${'a'.repeat(40)}!`])
        expect((await send({ port: witness.port }, 'GET', path)).status).toBe(403);
    },
  );

  it('names with dots, prefixes and suffixes of identities admit nobody else (CVE-2026-39350)', async () => {
    const spec =
      '{rules: [{from: [{source: {serviceAccounts: ["shop/sa.x"]}}, {source: {principals: ["cluster.local/ns/shop/sa/pay*"]}}, {source: {namespaces: ["ops"]}}]}]}';
    const one = await house(`${head('STRICT')}${policy(spec)}`);
    const { port } = await openWitness(one.mesh);
    const statusOf = async (path: string): Promise<number> => {
      const as = (await one.authority.issueUri(`spiffe://cluster.local${path}`)) as unknown as X509Svid;
      return (await send({ port, as, roots: [one.authority.rootPem] }, 'GET', '/')).status;
    };
    const allowed = ['/ns/shop/sa/sa.x', '/ns/shop/sa/pay', '/ns/shop/sa/payments', '/ns/ops/sa/anyone'];
    const denied = [
      '/ns/shop/sa/saXx',
      '/ns/shop/sa/sa.xy',
      '/ns/shop/sa/asa.x',
      '/ns/shop2/sa/sa.x',
      '/ns/shop/sa/repay',
      '/ns/ops2/sa/anyone',
      '/ns/devops/sa/anyone',
      '/ns/shop/sa/ops',
    ];
    expect(await Promise.all(allowed.map(statusOf))).toEqual(allowed.map(() => 200));
    expect(await Promise.all(denied.map(statusOf))).toEqual(denied.map(() => 403));
  });
});
