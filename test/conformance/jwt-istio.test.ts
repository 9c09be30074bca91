import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { createKeySets } from '../../packages/core/src/jwt/key-sets.js';
import { isCorsPreflight } from '../../packages/core/src/jwt/preflight.js';
import type { RequestAuthentication } from '../../packages/core/src/jwt/resource.js';
import { compileJwtRules } from '../../packages/core/src/jwt/rules.js';
import { createJwtVerifier, type JwtOutcome } from '../../packages/core/src/jwt/verify.js';
import { removeQueryParameters } from '../../packages/core/src/propagation/payload-header.js';
import { headerLines } from '../../packages/core/src/request/header-lines.js';

const shared = resolve(import.meta.dirname, '../../../shared');
const istio = resolve(process.env['ENMESH_CORPORA'] ?? resolve(shared, 'corpora'), 'istio');
const oracle = resolve(process.env['ENMESH_ORACLE'] ?? resolve(shared, 'oracle'), 'inbound.ndjson.gz');
if (!existsSync(istio)) console.log(`skip: no corpus of Istio at ${istio}`);
if (!existsSync(oracle)) console.log(`skip: no oracle at ${oracle}`);

const now = Date.UTC(2026, 10, 22);

interface YamlPolicy {
  readonly kind?: string;
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly creationTimestamp?: string };
  readonly spec?: RequestAuthentication['spec'];
}

function policiesOf(yaml: string): RequestAuthentication[] {
  return parseAllDocuments(yaml)
    .map((document) => document.toJS() as YamlPolicy | null)
    .filter((document) => document?.kind === 'RequestAuthentication')
    .map((document) => {
      const { name = '', namespace = 'default', creationTimestamp } = document?.metadata ?? {};
      const source = { file: 'oracle', line: 1, column: 1 };
      const created = creationTimestamp === undefined ? 0 : Date.parse(creationTimestamp);
      const meta = {
        kind: 'RequestAuthentication',
        namespace,
        name,
        creationTimestamp: created,
        labels: {},
        annotations: {},
        source,
      };
      return { meta, spec: document?.spec ?? {} };
    });
}

interface SentRequest {
  readonly method: string;
  readonly target: string;
  readonly headers: readonly (readonly [string, string])[];
}

/** The token step as the door runs it: output headers removed, preflights passed over, tokens read from the lines that policies see. */
function createStep(
  policies: readonly RequestAuthentication[],
  target: { namespace: string; labels: Record<string, string> },
  root: string,
) {
  const rules = compileJwtRules(policies, target, root);
  const keySets = createKeySets({
    insecureHttp: () => true,
    fetchText: async () => ({ status: 200, contentType: 'application/json', body: jwks() }),
  });
  keySets.use(rules);
  const verifier = createJwtVerifier({ keySets });
  const run = ({ method, target: sent, headers }: SentRequest): JwtOutcome => {
    const raw = headers
      .filter(([name]) => !rules.outputHeaders.includes(name.toLowerCase()))
      .flat()
      .map((part) => part.trim());
    const header = (name: string) => (name === ':path' ? [sent] : headerLines(raw, name));
    if (isCorsPreflight(method, header)) return { ok: true, user: undefined, effects: undefined };
    const mark = sent.indexOf('?');
    return verifier.verify(rules, { header, query: mark < 0 ? '' : sent.slice(mark + 1) }, now);
  };
  return { run, rules, keySets };
}

const jwks = (): string => readFileSync(resolve(istio, 'tests/common/jwt/jwks.json'), 'utf8');

interface IstioCase {
  readonly policies: string | null;
  readonly name: string;
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly status: number;
  readonly upstreamHeaders: Readonly<Record<string, string | null>>;
}

describe.skipIf(!existsSync(istio))("Istio's RequestAuthentication cases", () => {
  const folder = resolve(istio, 'tests/integration/security');
  const read = (file: string): string => readFileSync(resolve(istio, file), 'utf8');
  interface SampleToken {
    readonly name: string;
    readonly token: string;
    readonly payload?: { readonly iss: string; readonly sub: string } | null;
  }
  const tokens = () => (JSON.parse(read('tests/common/jwt/tokens.json')) as { tokens: readonly SampleToken[] }).tokens;

  it('decides all 28 as Istio does, down to the headers that the application gets', async () => {
    const named = new Map(tokens().map(({ name, token }) => [name, token]));
    const { cases } = JSON.parse(readFileSync(resolve(folder, 'request-authn-cases.json'), 'utf8')) as {
      cases: readonly IstioCase[];
    };
    const fill = (text: string): string => text.replace(/\{\{(Token\w+)\}\}/g, (_, name: string) => named.get(name) ?? '');
    for (const test of cases) {
      const template = test.policies === null ? '' : readFileSync(resolve(folder, test.policies), 'utf8');
      const broken = ['timeout', 'invalid-jwks'].some((name) => test.policies?.includes(name));
      const yaml = template
        .replace(/^\{\{-? (range|end|if).*$/gm, '')
        .replace(/\{\{[^}]*JwksURI[^}]*\}\}/g, 'http://issuer.test/jwks');
      const policies = policiesOf(yaml.replace(/\{\{[^}]*\}\}/g, 'app'));
      const step = createStep(policies, { namespace: 'default', labels: { app: 'app' } }, 'istio-system');
      if (!broken) await step.keySets.ready();
      const headers = Object.entries(test.headers).map(([name, value]) => [name, fill(value)] as const);
      const outcome = step.run({ method: test.method, target: fill(test.path), headers });
      const refused = test.status === 401 || (test.status === 403 && test.name === 'invalid-aud');
      expect({ name: test.name, ok: outcome.ok, status: outcome.ok ? 200 : outcome.status }).toEqual({
        name: test.name,
        ok: !refused,
        status: refused ? test.status : 200,
      });
      if (outcome.ok) checkUpstream(outcome, test, fill);
      step.keySets.close();
    }
    expect(cases).toHaveLength(28);
  });

  it('verifies every sample token but the two bad ones, and names its principal', async () => {
    const issuers = ['test-issuer-1@istio.io', 'test-issuer-2@istio.io', 'test-issuer-3@istio.io'];
    const spec = { jwtRules: issuers.map((issuer) => ({ issuer, jwks: jwks() })) };
    const yaml = JSON.stringify({ kind: 'RequestAuthentication', metadata: { name: 'all' }, spec });
    const step = createStep(policiesOf(yaml), { namespace: 'default', labels: {} }, 'istio-system');
    const principals = tokens().map(({ name, token }) => {
      const outcome = step.run({ method: 'GET', target: '/', headers: [['authorization', `Bearer ${token}`]] });
      return [name, outcome.ok ? outcome.user?.principal : outcome.code];
    });
    const bad = new Map([
      ['TokenExpired', 'ENMESH_JWT_EXPIRED'],
      ['TokenInvalid', 'ENMESH_JWT_MALFORMED'],
    ]);
    const wanted = tokens().map(({ name, payload }) => [name, bad.get(name) ?? `${payload?.iss}/${payload?.sub}`]);
    expect(principals).toEqual(wanted);
  });
});

function checkUpstream({ effects }: JwtOutcome & { ok: true }, test: IstioCase, fill: (text: string) => string): void {
  for (const [name, value] of Object.entries(test.upstreamHeaders)) {
    const lower = name.toLowerCase();
    const set = effects?.setHeaders.filter(([header]) => header === lower).map(([, line]) => line) ?? [];
    const sent = Object.entries(test.headers).find(([header]) => header.toLowerCase() === lower)?.[1];
    const kept = sent !== undefined && !effects?.removeHeaders.includes(lower) ? [fill(sent)] : [];
    expect([test.name, name, ...kept, ...set]).toEqual([test.name, name, ...(value === null ? [] : [fill(value)])]);
  }
}

interface OracleWorld {
  readonly world: string;
  readonly workload: { readonly namespace: string; readonly labels: Record<string, string> };
  readonly mesh: { readonly rootNamespace?: string };
  readonly documents: string;
}
interface OracleCase {
  readonly case: string;
  readonly note?: string;
  readonly request: SentRequest;
  readonly expect: {
    readonly outcome: string;
    readonly status?: number;
    readonly body?: string;
    readonly details?: string;
    readonly upstream?: { readonly path: string; readonly headers: Readonly<Record<string, readonly string[]>> };
  };
}

// Where the semantics say "do not imitate".
const oracleExceptions = new Map([
  ['p0027-001', 'JSON with single quotes is no JSON'],
  ['p0027-020', 'JSON with a trailing comma is no JSON'],
  ['p0028-002', 'a header with zip is refused'],
  ['p0028-007', 'an EC key does not verify a token that says PS256'],
  ['p0028-008', 'trailing bits give one signature many spellings'],
  ['p0028-017', 'an extra dot makes a fourth part'],
  ['p0028-018', 'a header with crit is refused (RFC 7515 section 4.1.11)'],
  ['p0028-022', 'an EC key does not verify a token that says EdDSA'],
  ['p0083-009', 'of two lines of one token header the bad one refuses, with several rules too'],
]);

describe.skipIf(!existsSync(oracle))('Istio and Envoy over real sockets', () => {
  it('refuses and accepts the same tokens with the same bodies, and hands over the same headers and query', () => {
    const disagreeing: string[] = [];
    let compared = 0;
    let step: ReturnType<typeof createStep> | undefined;
    for (const line of gunzipSync(readFileSync(oracle)).toString('utf8').trimEnd().split('\n')) {
      const entry = JSON.parse(line) as OracleWorld | OracleCase;
      if ('world' in entry) {
        const policies = policiesOf(entry.documents);
        step =
          policies.length === 0 ? undefined : createStep(policies, entry.workload, entry.mesh.rootNamespace ?? 'istio-system');
        continue;
      }
      if (step === undefined || !isComparable(entry)) continue;
      compared++;
      const problem = disagreement(entry, step.run(entry.request), step.rules.outputHeaders);
      if (problem === undefined) continue;
      disagreeing.push(entry.case);
      if (!oracleExceptions.has(entry.case)) console.log(entry.case, entry.note ?? '', problem);
    }
    expect(disagreeing.filter((id) => !oracleExceptions.has(id))).toEqual([]);
    expect([...oracleExceptions.keys()].filter((id) => !disagreeing.includes(id))).toEqual([]);
    expect(compared).toBeGreaterThan(600);
  });
});

/** Cases that the token step had a say in: not refused before it, by TLS or by the codec. */
function isComparable({ expect: { outcome, details = '' } }: OracleCase): boolean {
  return outcome !== 'closed' && !/^(http1\.|http\.|missing_host|absolute_path|filter_removed|path_normalization)/.test(details);
}

function disagreement(
  { request, expect: wanted }: OracleCase,
  outcome: JwtOutcome,
  outputs: readonly string[],
): string | undefined {
  const byToken = wanted.details?.startsWith('jwt_authn_access_denied') === true;
  if (!outcome.ok) {
    if (!byToken) return `refused with "${outcome.body}" where Istio passes it on`;
    const body = wanted.body || wanted.details?.slice(24, -1).replaceAll('_', ' ');
    return outcome.body === body && outcome.status === wanted.status ? undefined : `"${outcome.body}" instead of "${body}"`;
  }
  if (byToken) return `passed on where Istio says "${wanted.body}"`;
  if (wanted.upstream === undefined) return undefined;
  const { path, headers } = wanted.upstream;
  const names = new Set([...outputs, ...(outcome.effects?.removeHeaders ?? [])]);
  for (const name of names) {
    const lines = outcome.effects?.setHeaders.filter(([header]) => header === name).map(([, value]) => value) ?? [];
    if (JSON.stringify(headers[name] ?? []) !== JSON.stringify(lines))
      return `${name}: ${JSON.stringify(lines)} instead of ${JSON.stringify(headers[name])}`;
  }
  if (
    !outcome.effects?.removeHeaders.includes('authorization') &&
    request.headers.some(([name]) => name.toLowerCase() === 'authorization') &&
    !headers['authorization']
  )
    return 'authorization was removed';
  const removed = outcome.effects?.removeParams ?? [];
  const [, query] = /\?([^#]*)/.exec(request.target) ?? [];
  const [wantedQuery = ''] = /\?.*/.exec(path) ?? [];
  if (removed.length === 0 || query === undefined) return undefined;
  const rest = removeQueryParameters(`?${query}`, removed);
  return rest === wantedQuery ? undefined : `query ${rest} instead of ${wantedQuery}`;
}
