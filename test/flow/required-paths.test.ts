import { readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import express5 from 'express';
import express4 from 'express4';
import Fastify from 'fastify';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Mesh } from '@enmesh/core';
import { listen } from '@enmesh/express';
import { serverFactory } from '@enmesh/fastify';
import { parseAllDocuments } from 'yaml';
import { runEnmesh } from '../support/command-line.js';
import { createHouse, send, type House } from '../support/house.js';

/** docs/authentication.md is the specification: its recipes are loaded, and every line of its tables is asked. */
const page = readFileSync(new URL('../../docs/authentication.md', import.meta.url), 'utf8');

interface Line {
  readonly method: string;
  readonly target: string;
  readonly brings: string;
  readonly express: number;
  readonly fastify: number;
}

interface Recipe {
  readonly name: string;
  readonly yaml: string;
  readonly lines: readonly Line[];
}

const linesOf = (text: string): readonly Line[] =>
  [
    ...text.matchAll(
      /^\| `(?<method>[A-Z]+) (?<target>\S+)`\s*\| (?<brings>[^|]+?)\s*\| (?<express>\d+)\s*\| (?<fastify>\d+)\s*\|$/gm,
    ),
  ].map(({ groups }) => {
    const { method = '', target = '', brings = '', express, fastify } = groups ?? {};
    return { method, target, brings, express: Number(express), fastify: Number(fastify) };
  });

const parts = page.split(/^<!-- (?=recipe: |legacy: )/m).slice(1);
const yamlOf = (part: string): string => /^```yaml\n([\s\S]*?)^```$/m.exec(part)?.[1] ?? '';
const recipes: readonly Recipe[] = parts
  .filter((part) => part.startsWith('recipe: '))
  .map((part) => ({ name: /^recipe: (\w+)/.exec(part)?.[1] ?? '', yaml: yamlOf(part), lines: linesOf(part) }));
const recipe = (name: string): Recipe => recipes.find((one) => one.name === name) as Recipe;
const legacy = yamlOf(parts.find((part) => part.startsWith('legacy: both')) ?? '');

const routes = ['/', '/health', '/api/orders', '/api/health', '/admin/users'];
const ok = (_request: IncomingMessage, response: ServerResponse): void => void response.end('ok');

const expressOf =
  (express: typeof express5) =>
  async (mesh: Mesh): Promise<number> => {
    const app = express();
    for (const route of routes) app.all(route, ok);
    const server = await listen(mesh, app, 0, { host: '127.0.0.1' });
    return (server.address() as { port: number }).port;
  };

/** Each with its column of the tables. */
const frameworks: Record<string, readonly ['express' | 'fastify', (mesh: Mesh) => Promise<number>]> = {
  'Express 5': ['express', expressOf(express5)],
  'Express 4': ['express', expressOf(express4 as unknown as typeof express5)],
  'Fastify 5': ['fastify', fastify],
};

async function fastify(mesh: Mesh): Promise<number> {
  const app = Fastify({ serverFactory: serverFactory(mesh) as never });
  for (const route of routes) app.all(route, async () => 'ok');
  await app.listen({ port: 0, host: '127.0.0.1' });
  return (app.server.address() as { port: number }).port;
}

let house: House;
const tokens = { good: '', expired: '' };
beforeAll(async () => {
  house = await createHouse('');
  tokens.good = await house.issuer.sign({ sub: 'jane' });
  tokens.expired = await house.issuer.sign({ sub: 'jane' }, { expiresIn: -300 });
});
afterAll(() => house.close());

type Headers = readonly (readonly [string, string])[];
const origin = ['Origin', 'https://app.test'] as const;
const asked = ['Access-Control-Request-Method', 'POST'] as const;
const bearer = (token: string): readonly [string, string] => ['Authorization', `Bearer ${token}`];

/** What a line of a table brings, by the words of the page. */
const brought: Readonly<Record<string, () => Headers>> = {
  nothing: () => [],
  'a token': () => [bearer(tokens.good)],
  'an expired token': () => [bearer(tokens.expired)],
  'an origin': () => [origin],
  'a preflight': () => [origin, asked],
  'a preflight, an expired token': () => [origin, asked, bearer(tokens.expired)],
  'a preflight of an empty origin': () => [['Origin', ''], asked],
  'a preflight for no method': () => [origin, ['Access-Control-Request-Method', '']],
};

/** The recipe on that of the tokens, with the test's own key set in the place of the issuer's address. */
const policiesOf = ({ name, yaml }: Recipe): string =>
  [...new Set([recipe('verify').yaml, name === 'verify' ? '' : yaml])]
    .filter((text) => text !== '')
    .join('---\n')
    .replace('jwksUri: https://issuer.test/keys', "jwks: 'JWKS'");

describe.each(Object.entries(frameworks))('docs/authentication.md on %s', (_framework, [column, open]) => {
  let port: number;
  beforeAll(async () => {
    port = await open(house.mesh);
  });

  it.each(recipes.map((one) => [one.name, one] as const))('is right in every line of the recipe %s', async (_, one) => {
    await house.write('policies.yaml', policiesOf(one));
    const answers = [];
    for (const { method, target, brings } of one.lines) {
      const headers = brought[brings];
      if (headers === undefined) throw new TypeError(`the page says \`${brings}\``);
      const { status } = await send({ port }, method, target, headers());
      answers.push(`${method} ${target} with ${brings}: ${status}`);
    }
    expect(answers).toEqual(one.lines.map((line) => `${line.method} ${line.target} with ${line.brings}: ${line[column]}`));
  });
});

describe('docs/authentication.md', () => {
  it('has lines that this test reads, all of them', () => {
    expect(recipes.map(({ name }) => name)).toEqual([
      'verify',
      'everywhere',
      'include',
      'exclude',
      'both',
      'preflight',
      'allow',
      'issuers',
    ]);
    expect(recipes.filter(({ lines, yaml }) => lines.length < 4 || yaml === '')).toEqual([]);
    const read = recipes.reduce((sum, { lines }) => sum + lines.length, 0);
    expect(read).toBe([...page.matchAll(/^\| `[A-Z]+ \//gm)].length);
  });

  it.each(recipes.map((one) => [one.name, one] as const))(
    'has nothing in the recipe %s that `enmesh validate` objects to',
    async (_, { yaml }) => {
      const { code, out } = await runEnmesh(['validate', '-'], { input: yaml });
      expect([code, out]).toEqual([0, expect.stringContaining('0 errors, 0 warnings')]);
    },
  );
});

type Document = Readonly<{
  kind: string;
  spec: Readonly<{ selector: object; action?: string; rules?: object; jwtRules?: readonly object[] }>;
}>;
const documentsOf = (text: string): readonly Document[] => parseAllDocuments(text).map((one) => one.toJS() as Document);
const specOf = (text: string, kind: string): Document['spec'] | undefined =>
  documentsOf(text).find((one) => one.kind === kind)?.spec;

/** The legacy policy of the page with other trigger rules. */
const withTriggers = (triggerRules: readonly object[]): string => {
  const [policy] = documentsOf(legacy) as unknown as [{ spec: { origins: [{ jwt: { triggerRules?: unknown } }] } }];
  policy.spec.origins[0].jwt.triggerRules = triggerRules;
  return JSON.stringify(policy);
};

describe('enmesh convert', () => {
  it.each([
    ['everywhere', withTriggers([])],
    ['include', withTriggers([{ includedPaths: [{ prefix: '/api/' }, { prefix: '/admin/' }] }])],
    ['exclude', withTriggers([{ excludedPaths: [{ exact: '/' }, { exact: '/health' }] }])],
    ['both', legacy],
  ])('makes the recipe %s of a legacy policy', async (name, policy) => {
    const { code, out, error } = await runEnmesh(['convert', '-'], { input: policy });
    expect(code).toBe(0);
    expect(specOf(out, 'AuthorizationPolicy')).toEqual(specOf(recipe(name).yaml, 'AuthorizationPolicy'));
    const { selector, jwtRules } = specOf(recipe('verify').yaml, 'RequestAuthentication') ?? {};
    const legacyExtras = { outputPayloadToHeader: 'sec-istio-auth-userinfo', forwardOriginalToken: false };
    expect(specOf(out, 'RequestAuthentication')).toEqual({ selector, jwtRules: [{ ...jwtRules?.[0], ...legacyExtras }] });
    expect(error).toContain('a CORS preflight');
  });
});
