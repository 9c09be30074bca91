import { existsSync, readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createHouse, open, send, type Answer } from '../support/house.js';

const corpora = process.env['ENMESH_CORPORA'] ?? resolve(import.meta.dirname, '../../../shared/corpora');
const istio = resolve(corpora, 'istio');
const folder = resolve(istio, 'tests/integration/security');
const isPresent = existsSync(folder);
if (!isPresent) console.log(`skip: request-authn-mesh conformance, no corpus of Istio below ${corpora}`);

interface IstioCase {
  readonly policies: string | null;
  readonly name: string;
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly status: number;
  /** What the application gets; null: nothing. */
  readonly upstreamHeaders: Readonly<Record<string, string | null>>;
}

const issuers = ['test-issuer-1@istio.io', 'test-issuer-2@istio.io'];
const readJson = <T>(file: string): T => JSON.parse(readFileSync(file, 'utf8')) as T;

/** Serves Istio's key set; `?delay=` holds the answer back for ever, and every other path is 404. */
function createKeyServer(): Server {
  const jwks = readFileSync(resolve(istio, 'tests/common/jwt/jwks.json'), 'utf8');
  return createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://keys.test');
    if (searchParams.has('delay')) return;
    if (pathname !== '/jwks') return void response.writeHead(404).end();
    response.setHeader('content-type', 'application/json').end(jwks);
  });
}

/** A template of Istio's for the workload of the house. */
const fill = (template: string, keys: number): string =>
  template
    .replace(/^metadata:$/gm, 'metadata:\n  namespace: shop')
    .replace(/https:\/\/raw\.[^"]*/g, `http://127.0.0.1:${keys}/not-there`)
    .replace(/\{\{ *\.JWTServer\.JwksURI *\}\}/g, `http://127.0.0.1:${keys}/jwks`)
    .replace(/\{\{ *\.To\.ServiceName *\}\}/g, 'product');

/** Status and headers as the case wants them, else what came instead. */
function problemOf(test: IstioCase, answer: Answer, token: (text: string) => string): string | undefined {
  if (answer.status !== test.status) return `${answer.status} instead of ${test.status}`;
  const got = answer.status === 200 ? (JSON.parse(answer.body) as Record<string, string[]>) : {};
  for (const [name, value] of Object.entries(test.upstreamHeaders)) {
    const wanted = value === null ? [] : [token(value)];
    const lines = got[name.toLowerCase()] ?? [];
    if (JSON.stringify(lines) !== JSON.stringify(wanted)) return `${name}: ${JSON.stringify(lines)}`;
  }
  return undefined;
}

describe.skipIf(!isPresent)("Istio's RequestAuthentication cases through a mesh, with a server of keys", () => {
  const { cases } = isPresent
    ? readJson<{ cases: readonly IstioCase[] }>(resolve(folder, 'request-authn-cases.json'))
    : { cases: [] };
  const { tokens } = isPresent
    ? readJson<{ tokens: readonly { name: string; token: string }[] }>(resolve(istio, 'tests/common/jwt/tokens.json'))
    : { tokens: [] };
  const token = (text: string): string =>
    text.replace(/\{\{(Token\w+)\}\}/g, (_, name: string) => tokens.find((one) => one.name === name)?.token ?? '');
  const templates = [...new Set(cases.map(({ policies }) => policies))];
  const keyServer = createKeyServer();
  let keys = 0;

  beforeAll(async () => void (keys = await open(keyServer)));
  afterAll(() => {
    keyServer.close();
    keyServer.closeAllConnections();
  });

  it.each(templates)('gives the statuses of %s, and its headers to the application', async (policies) => {
    const yaml = policies === null ? '' : fill(readFileSync(resolve(folder, policies), 'utf8'), keys);
    const house = await createHouse(yaml, {
      jwks: Object.fromEntries(issuers.map((issuer) => [issuer, { insecureHttp: true }])),
    });
    const server = house.mesh.createServer((request, response) => response.end(JSON.stringify(request.headersDistinct)));
    const port = await open(server);
    const problems: string[] = [];
    const as = await house.svid('gateway');
    for (const test of cases.filter((one) => one.policies === policies)) {
      const headers = Object.entries(test.headers).map(([name, value]) => [name, token(value)] as const);
      const answer = await send({ port, as, roots: [house.authority.rootPem] }, test.method, token(test.path) || '/', headers);
      const problem = problemOf(test, answer, token);
      if (problem !== undefined) problems.push(`${test.name}: ${problem}`);
      if (answer.status !== 200)
        expect(answer.headers['www-authenticate'] !== undefined).toBe(answer.body.startsWith('J') || answer.body.startsWith('A'));
    }
    server.close();
    await house.close();
    expect(problems).toEqual([]);
  });

  it('are 28 in all', () => {
    console.log(`request-authn-mesh: ${cases.length} cases, 0 excused`);
    expect(cases).toHaveLength(28);
  });
});
