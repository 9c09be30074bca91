import { createKeySets } from '../../packages/core/dist/jwt/key-sets.js';
import { compileJwtRules } from '../../packages/core/dist/jwt/rules.js';
import { createJwtVerifier, createTokenMemo } from '../../packages/core/dist/jwt/verify.js';
import { names } from './tokens.mjs';

/** The verifier of a mesh with one RequestAuthentication, its keys fetched once. `verify` takes an Authorization line and throws unless it names a user. */
export async function createEnmesh(issuer) {
  const meta = {
    kind: 'RequestAuthentication',
    namespace: 'shop',
    name: 'jwt',
    creationTimestamp: 0,
    labels: {},
    annotations: {},
  };
  const rule = { issuer: names.issuer, audiences: [names.audience], jwksUri: 'https://idp.example/jwks' };
  const policy = { meta: { ...meta, source: { file: 'bench', line: 1, column: 1 } }, spec: { jwtRules: [rule] } };
  const rules = compileJwtRules([policy], { namespace: 'shop', labels: {} }, 'istio-system');
  const body = JSON.stringify(issuer.jwks);
  const fetchText = async () => ({ status: 200, contentType: 'application/json', body });
  const keySets = createKeySets({ insecureHttp: () => false, fetchText });
  keySets.use(rules);
  await keySets.ready();
  const source = { line: [''], query: '', header: (name) => (name === 'authorization' ? source.line : undefined) };
  let verifier = createJwtVerifier({ keySets });
  let memo = createTokenMemo();
  const decide = (line) => {
    source.line = [line];
    return verifier.verify(rules, source, Date.now(), memo);
  };
  return {
    /** Forgets every token, and the connection. */
    forget() {
      verifier = createJwtVerifier({ keySets });
      memo = createTokenMemo();
    },
    verify(line) {
      const outcome = decide(line);
      if (!outcome.ok || outcome.user === undefined) throw new Error(outcome.ok ? 'nobody' : outcome.body);
    },
    isRefused: (line) => !decide(line).ok,
    /** Takes all keys away, as a closed or emptied key set does. */
    dropKeys: () => keySets.close(),
  };
}
