import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { compilePolicies } from '../../packages/core/src/policy/compile.js';
import { compileField } from '../../packages/core/src/policy/conditions.js';
import { evaluatePolicies } from '../../packages/core/src/policy/evaluate.js';
import { compilePaths } from '../../packages/core/src/policy/path.js';
import { compileServiceAccounts } from '../../packages/core/src/policy/principals.js';
import { expandPrincipals } from '../../packages/core/src/policy/trust-domain.js';
import type { AuthorizationPolicySpec } from '../../packages/core/src/policy/resource.js';
import { parseTarget, splitTarget, type RequestTarget } from '../../packages/core/src/request/normalize.js';
import { attributesOf, documentsOf, type Case, type World } from './inbound-oracle.js';

const corpora = process.env['ENMESH_CORPORA'] ?? resolve(import.meta.dirname, '../../../shared/corpora');
const istio = resolve(corpora, 'istio');
const present = existsSync(istio);
if (!present) console.log(`skip: Istio's corpora not found below ${corpora}`);

const read = <T>(file: string): T => JSON.parse(readFileSync(resolve(istio, file), 'utf8')) as T;

describe.skipIf(!present)("Istio's own matcher cases", () => {
  it('service accounts match exactly the identities Istio says, all 15 of them', () => {
    const { cases } = read<{ cases: readonly { input: string; identity: string; match: boolean }[] }>(
      'pilot/pkg/security/authz/model/service-account-cases.json',
    );
    expect(cases.filter((entry) => compileServiceAccounts([entry.input], '')?.(entry.identity) !== entry.match)).toEqual([]);
    expect(cases).toHaveLength(15);
  });

  it('principals expand over trust domain aliases as Istio expands them, all 13 of them', () => {
    const { cases } = read<{
      cases: readonly {
        trustDomain: string;
        aliases: readonly string[];
        principals: readonly string[];
        expect: readonly string[];
      }[];
    }>('pilot/pkg/security/trustdomain/alias-cases.json');
    for (const entry of cases)
      expect(expandPrincipals(entry.principals, [entry.trustDomain, ...entry.aliases])).toEqual(entry.expect);
    expect(cases).toHaveLength(13);
  });

  it('path templates match exactly the paths Istio says, all 18 of them', () => {
    const { policyPaths, cases } = read<{ policyPaths: readonly string[]; cases: readonly { path: string; allow: boolean }[] }>(
      'tests/integration/security/path-templating-cases.json',
    );
    const matches = compilePaths(policyPaths);
    expect(cases.filter((entry) => matches?.(splitTarget(entry.path).path) !== entry.allow)).toEqual([]);
    expect(cases).toHaveLength(18);
  });

  it('path templates are judged exactly where Istio admits them, all 22 of them', () => {
    const { cases } = read<{ cases: readonly { values: readonly string[]; error: boolean }[] }>(
      'pkg/config/security/path-template-validation-cases.json',
    );
    expect(cases.filter((entry) => (compilePaths(entry.values) === undefined) !== entry.error)).toEqual([]);
    expect(cases).toHaveLength(22);
  });

  it('conditions are judged exactly where Istio admits them, all 38 of them but the excused', () => {
    const exceptions = {
      'experimental.envoy.filters.a.b[c]':
        'there are no Envoy filters here, so their metadata cannot be judged: ALLOW fails, DENY holds',
    };
    const { cases } = read<{ cases: readonly { key: string; values: readonly string[]; error: boolean }[] }>(
      'pkg/config/security/condition-validation-cases.json',
    );
    const context = { namespace: 'shop', bundle: ['cluster.local'], cautious: false };
    const wrong = cases.filter((entry) => (compileField(entry.key, entry.values, context) === undefined) !== entry.error);
    expect(wrong.map((entry) => entry.key)).toEqual(Object.keys(exceptions));
    expect(cases).toHaveLength(38);
  });

  it('requests with tokens are decided as Istio decides them, all 32 of them', () => {
    const integration = 'tests/integration/security';
    const { tokens } = read<{ tokens: readonly { name: string; token: string }[] }>('tests/common/jwt/tokens.json');
    const { cases } = read<{ cases: readonly { jwt: string | null; path: string; allow: boolean }[] }>(
      `${integration}/jwt-authz-cases.json`,
    );
    const template = readFileSync(resolve(istio, `${integration}/testdata/authz/jwt.yaml.tmpl`), 'utf8');
    const documents = template.replace(/\{\{ \.To\.ServiceName \}\}/g, 'b').replace(/\{\{ [^}]* \}\}/g, 'http://127.0.0.1/jwks');
    const world: World = { world: 'jwt', workload: { namespace: 'default', labels: { app: 'b' } }, mesh: {}, documents };
    const mesh = { trustDomain: 'cluster.local', trustDomainAliases: [], rootNamespace: 'istio-system' };
    const set = compilePolicies(documentsOf<AuthorizationPolicySpec>(world, 'AuthorizationPolicy'), world.workload, mesh);
    const wrong = cases.filter(({ jwt, path, allow }) => {
      const token = tokens.find(({ name }) => name === jwt)?.token;
      expect(token === undefined).toBe(jwt === null);
      const entry: Case = {
        case: path,
        connection: { tls: false, sourceIp: '127.0.0.1', destinationIp: '127.0.0.1', destinationPort: 80 },
        request: { method: 'GET', target: path, headers: token === undefined ? [] : [['authorization', `Bearer ${token}`]] },
        expect: { outcome: 'allowed' },
      };
      return evaluatePolicies(set, attributesOf(world, entry, parseTarget(path, 'BASE') as RequestTarget)).allowed !== allow;
    });
    expect(wrong).toEqual([]);
    expect(cases).toHaveLength(32);
  });
});
