import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { compilePaths } from '../../packages/core/src/policy/path.js';
import { compileServiceAccounts } from '../../packages/core/src/policy/principals.js';
import { expandPrincipals } from '../../packages/core/src/policy/trust-domain.js';
import { splitTarget } from '../../packages/core/src/request/normalize.js';

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
});
