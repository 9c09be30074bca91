import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createPlainServer, get as getPlain, type IncomingMessage, type Server } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { noticeEvents, type NoticeEvent, type RequestEnmesh } from '@enmesh/core';
import { createTestIssuer } from '@enmesh/core/testing';
import { createHouse, open, send, sendRaw, type Answer, type House } from '../support/house.js';
import { createPrivateCertificate } from '../support/private-certificate.js';

// How key sets are fetched and what they refuse: packages/core/src/jwt/*.test.ts. Hours of faults: test/faults/key-sets.test.ts.
type Issuer = Awaited<ReturnType<typeof createTestIssuer>>;
type KeyServer = Awaited<ReturnType<Issuer['serve']>>;
type Options = NonNullable<Parameters<typeof createHouse>[1]>;

const plain = `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: PERMISSIVE}}
`;
const tokens = (...rules: readonly string[]): string => `${plain}---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: users, namespace: shop}
spec: {jwtRules: [${rules.join(', ')}]}
`;
const rule = (issuer: Issuer, { uri }: KeyServer, more = ''): string => `{issuer: "${issuer.issuer}", jwksUri: "${uri}"${more}}`;

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function house(policies: string, options: Options = {}): Promise<House> {
  const one = await createHouse(policies, options);
  ends.push(() => one.close());
  return one;
}

async function serve(issuer: Issuer): Promise<KeyServer> {
  const server = await issuer.serve();
  ends.push(() => server.close());
  return server;
}

/** A port of the house that says who calls. */
async function openPort({ mesh }: House): Promise<number> {
  return open(
    mesh.createServer((request, response) => {
      response.end((request as IncomingMessage & { enmesh: RequestEnmesh }).enmesh.user?.principal ?? 'nobody');
    }),
  );
}
const ask = (port: number, token?: string): Promise<Answer> =>
  send({ port }, 'GET', '/', token === undefined ? [] : [['Authorization', `Bearer ${token}`]]);
const said = ({ status, body }: Answer): string => `${status} ${body}`;

function heard(): NoticeEvent[] {
  const events: NoticeEvent[] = [];
  ends.push(noticeEvents.subscribe((event) => void events.push(event)));
  return events;
}

describe('a restart while the issuer is down', () => {
  it('goes on taking tokens where key sets are kept on disk, and tells so; elsewhere they are refused and nobody else is', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'enmesh-snapshot-'));
    ends.push(() => rmSync(directory, { recursive: true, force: true }));
    const issuer = await createTestIssuer();
    const server = await serve(issuer);
    const jwks = { [issuer.issuer]: { insecureHttp: true }, snapshotDirectory: join(directory, 'keys') };
    const token = await issuer.sign({ sub: 'jane' });
    const first = await createHouse(tokens(rule(issuer, server)), { jwks });
    expect(said(await ask(await openPort(first), token))).toBe(`200 ${issuer.issuer}/jane`);
    await first.close();
    await server.close();

    const events = heard();
    const kept = await house(tokens(rule(issuer, server)), { jwks, adminPort: 0 });
    expect(said(await ask(await openPort(kept), token))).toBe(`200 ${issuer.issuer}/jane`);
    expect(events.map(({ kind }) => kind)).toEqual(expect.arrayContaining(['key-set-restored', 'key-set-failed']));
    const told = await fetch(`http://127.0.0.1:${kept.mesh.adminPort}/key-sets`);
    expect(await told.json()).toMatchObject({ keySets: [{ issuer: issuer.issuer, state: 'stale', keys: 1, restored: true }] });

    const bare = await house(tokens(rule(issuer, server)), { jwks: { [issuer.issuer]: { insecureHttp: true } } });
    const port = await openPort(bare);
    expect(said(await ask(port, token))).toBe("401 Jwks doesn't have key to match kid or alg from Jwt");
    expect(said(await ask(port))).toBe('200 nobody');
  });

  it('keeps the files where the environment says', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'enmesh-snapshot-'));
    ends.push(() => rmSync(directory, { recursive: true, force: true }));
    const issuer = await createTestIssuer();
    const server = await serve(issuer);
    const options = { env: { ENMESH_JWKS_SNAPSHOT_DIRECTORY: directory }, jwks: { [issuer.issuer]: { insecureHttp: true } } };
    await (await createHouse(tokens(rule(issuer, server)), options)).close();
    await server.close();
    const again = await house(tokens(rule(issuer, server)), options);
    expect((await ask(await openPort(again), await issuer.sign({ sub: 'jane' }))).status).toBe(200);
  });
});

describe('a key server whose authority is private', () => {
  it('is believed by the caFile of its issuer alone, read at each fetch', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'enmesh-keys-ca-'));
    ends.push(() => rmSync(directory, { recursive: true, force: true }));
    const [issuer, served, other] = await Promise.all([
      createTestIssuer(),
      createPrivateCertificate(),
      createPrivateCertificate(),
    ]);
    const server = createSecureServer({ cert: served.cert, key: served.key }, (_request, response) => {
      response.setHeader('content-type', 'application/json').end(issuer.jwksText);
    });
    ends.push(() => void server.close());
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    const uri = `https://localhost:${(server.address() as AddressInfo).port}/`;
    const caFile = join(directory, 'ca.pem');
    const token = await issuer.sign({ sub: 'jane' });
    const policies = tokens(`{issuer: "${issuer.issuer}", jwksUri: "${uri}"}`);
    const events = heard();
    const answer = async (jwks: Options['jwks'] & {}): Promise<string> => {
      const one = await house(policies, { jwks });
      return said(await ask(await openPort(one), token));
    };
    const refused = "401 Jwks doesn't have key to match kid or alg from Jwt";
    expect(await answer({})).toBe(refused);
    expect(await answer({ [issuer.issuer]: { caFile } })).toBe(refused);
    expect(events.at(-1)?.message).toContain('the caFile of this issuer cannot be read (ENOENT)');
    writeFileSync(caFile, other.ca);
    expect(await answer({ [issuer.issuer]: { caFile } })).toBe(refused);
    writeFileSync(caFile, other.ca + served.ca);
    expect(await answer({ [issuer.issuer]: { caFile } })).toBe(`200 ${issuer.issuer}/jane`);
    expect(await answer({ 'https://another.test': { caFile } })).toBe(refused);
  });
});

describe('an issuer that misbehaves', () => {
  it.each(['silent', 'drip', 'huge', 'html', 'redirect-loop'] as const)(
    'by %s costs the users of another nothing',
    async (how) => {
      const [good, bad] = await Promise.all([createTestIssuer(), createTestIssuer({ issuer: 'https://bad.test' })]);
      const [goodServer, badServer] = await Promise.all([serve(good), serve(bad)]);
      badServer.misbehave(how);
      const jwks = { [good.issuer]: { insecureHttp: true }, [bad.issuer]: { insecureHttp: true } };
      const one = await house(tokens(rule(good, goodServer), rule(bad, badServer, ', timeout: 300ms')), { jwks });
      const port = await openPort(one);
      const [goodToken, badToken] = await Promise.all([good.sign({ sub: 'jane' }), bad.sign({ sub: 'jane' })]);
      for (let i = 0; i < 20; i++) {
        expect((await ask(port, badToken)).status).toBe(401);
        expect((await ask(port, goodToken)).status).toBe(200);
      }
      badServer.misbehave(undefined);
      expect((await ask(port, goodToken)).status).toBe(200);
    },
  );

  it('by a new key without notice is asked again at the first token that needs it', async () => {
    const issuer = await createTestIssuer();
    const server = await serve(issuer);
    const one = await house(tokens(rule(issuer, server)), { jwks: { [issuer.issuer]: { insecureHttp: true } } });
    const port = await openPort(one);
    const old = await issuer.sign({ sub: 'jane' });
    expect((await ask(port, old)).status).toBe(200);
    await issuer.rotate();
    const token = await issuer.sign({ sub: 'jane' });
    expect((await ask(port, token)).status).toBe(401);
    await expect.poll(async () => (await ask(port, token)).status, { interval: 20 }).toBe(200);
    // The set no longer holds the old key, cached token or not.
    expect((await ask(port, old)).status).toBe(401);
    expect(server.requests).toBe(2);
  });
});

describe('a clock five minutes off', () => {
  const fiveMinutes = 300_000;
  const inline = tokens(`{issuer: ISSUER, jwks: 'JWKS'}`);
  const at = async (off: number): Promise<{ one: House; port: number }> => {
    const one = await house(inline, { clock: () => Date.now() + off });
    return { one, port: await openPort(one) };
  };

  it('ahead ends tokens five minutes early, less the minute of skew', async () => {
    const { one, port } = await at(fiveMinutes);
    expect(said(await ask(port, await one.issuer.sign({ sub: 'jane' }, { expiresIn: 230 })))).toBe('401 Jwt is expired');
    expect((await ask(port, await one.issuer.sign({ sub: 'jane' }, { expiresIn: 260 }))).status).toBe(200);
  });

  it('behind refuses a token that counts from now, and takes one that says nothing of its beginning', async () => {
    const { one, port } = await at(-fiveMinutes);
    const seconds = Math.floor(Date.now() / 1000);
    expect(said(await ask(port, await one.issuer.sign({ sub: 'jane', nbf: seconds })))).toBe('401 Jwt not yet valid');
    expect((await ask(port, await one.issuer.sign({ sub: 'jane' }))).status).toBe(200);
  });

  it('that is put right while the service runs costs no key set', async () => {
    const issuer = await createTestIssuer();
    const server = await serve(issuer);
    let off = -fiveMinutes;
    const jwks = { [issuer.issuer]: { insecureHttp: true } };
    const one = await house(tokens(rule(issuer, server)), { jwks, clock: () => Date.now() + off });
    const port = await openPort(one);
    const token = await issuer.sign({ sub: 'jane' });
    for (off of [-fiveMinutes, 0, fiveMinutes - 60_000, 0, -fiveMinutes]) expect((await ask(port, token)).status).toBe(200);
    expect(server.requests).toBe(1);
  });
});

describe('what a token says of its time', () => {
  it.each([
    ['a text', '"4102444800"', '401 Jwt payload [exp] field is not an integer'],
    ['a list', '[4102444800]', '401 Jwt payload [exp] field is not an integer'],
    ['null', 'null', '401 Jwt payload [exp] field is not an integer'],
    ['negative', '-1', '401 Jwt payload [exp] field is not a positive 64 bit integer'],
    ['beyond any number', '1e999', '401 Jwt payload is an invalid JSON'],
    ['a fraction', '4102444800.5', '200 https://issuer.test/jane'],
  ])('as exp that is %s has its own answer', async (_, exp, expected) => {
    const one = await house(tokens(`{issuer: ISSUER, jwks: 'JWKS'}`));
    const token = one.issuer.signText('{"alg":"RS256"}', `{"iss":"${one.issuer.issuer}","sub":"jane","exp":${exp}}`);
    expect(said(await ask(await openPort(one), token))).toBe(expected);
  });

  it('is asked once for each request: one that is being handled goes on, the next on the connection is refused', async () => {
    let now = Date.now();
    const one = await house(tokens(`{issuer: ISSUER, jwks: 'JWKS'}`), { clock: () => now });
    const token = await one.issuer.sign({ sub: 'jane' }, { expiresIn: 30, now });
    let expiresAt: number | undefined;
    const port = await open(
      one.mesh.createServer((request, response) => {
        const { user } = (request as IncomingMessage & { enmesh: RequestEnmesh }).enmesh;
        ({ expiresAt } = user ?? {});
        // The token ends, skew and all, while the request is handled.
        now += 120_000;
        setImmediate(() => response.end(user?.principal));
      }),
    );
    const request = (last: string): string => `GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${token}\r\n${last}\r\n`;
    const { bytes } = await sendRaw({ port }, [request(''), request('Connection: close\r\n')]);
    expect([...bytes.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status)).toEqual(['200', '401']);
    expect(bytes).toContain('Jwt is expired');
    // What is minted or asked for in this request must not outlive it.
    expect(expiresAt).toBeLessThan(now);
  });
});

describe('a next hop that takes 4 KB of headers', () => {
  const policies = tokens(
    `{issuer: ISSUER, jwks: 'JWKS', outputPayloadToHeader: x-payload, outputClaimToHeaders: [{header: x-user, claim: sub}]}`,
  );

  it('refuses the payload of a large token with 431, and takes the claims that are needed', async () => {
    const next: Server = createPlainServer({ maxHeaderSize: 4_096 }, (_, response) => response.end('next'));
    const nextPort = await open(next);
    ends.push(() => next.close());
    const call = (headers: Record<string, string>): Promise<number | undefined> =>
      new Promise((done, fail) => {
        getPlain({ host: '127.0.0.1', port: nextPort, headers, agent: false }, (answer) => {
          answer.resume();
          done(answer.statusCode);
        }).on('error', fail);
      });
    const one = await house(policies);
    const port = await open(
      one.mesh.createServer((request, response) => {
        const headersOf = (name: string) => ({ [name]: String(request.headers[name]) });
        void Promise.all(['x-payload', 'x-user'].map((name) => call(headersOf(name)))).then((statuses) =>
          response.end(statuses.join()),
        );
      }),
    );
    const groups = (count: number) => Array.from({ length: count }, (_, index) => `group-${String(index).padStart(8, '0')}`);
    expect(said(await ask(port, await one.issuer.sign({ sub: 'jane', groups: groups(10) })))).toBe('200 200,200');
    expect(said(await ask(port, await one.issuer.sign({ sub: 'jane', groups: groups(250) })))).toBe('200 431,200');
  });

  it('is never reached by a token of more than 16 KiB', async () => {
    const one = await house(policies);
    const port = await openPort(one);
    const token = await one.issuer.sign({ sub: 'jane', junk: 'x'.repeat(16 * 1024) });
    expect([401, 431]).toContain((await ask(port, token)).status);
  });
});
