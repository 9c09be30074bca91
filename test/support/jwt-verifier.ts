import { createKeySets } from '../../packages/core/src/jwt/key-sets.js';
import type { JwtRuleSpec } from '../../packages/core/src/jwt/resource.js';
import { compileJwtRules, type JwtRuleSet } from '../../packages/core/src/jwt/rules.js';
import { createJwtVerifier, type JwtOutcome } from '../../packages/core/src/jwt/verify.js';

/** The rules of one RequestAuthentication, compiled. */
export function rulesOf(...jwtRules: readonly JwtRuleSpec[]): JwtRuleSet {
  const source = { file: 'jwt.yaml', line: 1, column: 1 };
  const meta = {
    kind: 'RequestAuthentication',
    namespace: 'shop',
    name: 'jwt',
    creationTimestamp: 0,
    labels: {},
    annotations: {},
  };
  const policy = { meta: { ...meta, source }, spec: { jwtRules } };
  return compileJwtRules([policy], { namespace: 'shop', labels: {} }, 'istio-system');
}

/** Verifies one token as the value of a header at a time, by one rule with inline keys; each verifier has a cache of its own. */
export function createTokenVerifier(rule: JwtRuleSpec, now: number): (token: string, at?: number) => JwtOutcome {
  const rules = rulesOf({ ...rule, fromHeaders: [{ name: 'x' }] });
  const verifier = createJwtVerifier({ keySets: createKeySets({ insecureHttp: () => false }) });
  return (token, at = now) => verifier.verify(rules, { query: '', header: (name) => (name === 'x' ? [token] : undefined) }, at);
}

/** Whether an outcome is a verified user. */
export const isUser = (outcome: JwtOutcome): boolean => outcome.ok && outcome.user !== undefined;

/** Base64url of JSON, of a text as it stands, or of octets. */
export const encode = (value: unknown): string =>
  Buffer.from(value instanceof Uint8Array ? value : typeof value === 'string' ? value : JSON.stringify(value)).toString(
    'base64url',
  );
