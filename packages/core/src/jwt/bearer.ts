import type { RequestIdentity } from '../identity/caller.js';
import { createKeySets } from './key-sets.js';
import { compileJwtRules } from './rules.js';
import { refusals, type JwtRefusal } from './outcome.js';
import { createJwtVerifier } from './verify.js';

/** An issuer whose tokens prove who calls, and where its keys are: `jwks` inline, or `jwksUri`, or by discovery without both. */
export interface BearerIssuer {
  readonly issuer: string;
  /** At least one; a token counts when one of its audiences is among them. */
  readonly audiences: readonly string[];
  readonly jwks?: string;
  readonly jwksUri?: string;
  /** Fetch keys over plain http. @deprecated Whoever can change them on the way can sign tokens. */
  readonly insecureHttp?: boolean;
}

/** Verifies bearer tokens of known issuers by the rules of RequestAuthentication, one token at a time. */
export interface BearerVerifier {
  /** Resolves when every fetched key set was tried once, whatever came of it. */
  ready(): Promise<void>;
  /** The identity that a token proves, or why it proves none (`ok: false`). Never throws; `now` is milliseconds since the epoch. */
  verify(token: string, now: number): RequestIdentity | JwtRefusal;
  close(): void;
}

/**
 * Creates a verifier for tokens that are no request's but a caller's own, such as those a certificate authority asks for. As strict as the door:
 * asymmetric algorithms fixed by the key, strict parsing, bounds; key sets are fetched and kept alike.
 * Throws `ENMESH_JWT_KEY_SET_INVALID` at an inline `jwks` without a usable key, and a `TypeError` without an issuer or audience.
 */
export function createBearerVerifier(options: {
  readonly issuers: readonly BearerIssuer[];
  readonly clock?: () => number;
}): BearerVerifier {
  const { issuers, clock = Date.now } = options;
  for (const { issuer, audiences } of issuers)
    if (issuer === '' || audiences.length === 0) throw new TypeError('each issuer needs a name and an audience');
  const rules = compileJwtRules([resourceOf(issuers)], { namespace: place, labels: {} }, place);
  const insecure = new Set(issuers.filter(({ insecureHttp }) => insecureHttp === true).map(({ issuer }) => issuer));
  const keySets = createKeySets({ insecureHttp: (issuer) => insecure.has(issuer), clock });
  keySets.use(rules);
  const verifier = createJwtVerifier({ keySets });
  return {
    ready: () => keySets.ready(),
    verify(token, now) {
      // A request's token may stand among spaces; a caller's own is the token and nothing else.
      if (!/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token)) return refusals.form;
      const line = `Bearer ${token}`;
      const outcome = verifier.verify(
        rules,
        { header: (name) => (name === 'authorization' ? [line] : undefined), query: '' },
        now,
      );
      return outcome.ok ? (outcome.user ?? refusals.form) : outcome;
    },
    close: () => keySets.close(),
  };
}

const place = 'bearer';

function resourceOf(issuers: readonly BearerIssuer[]): Parameters<typeof compileJwtRules>[0][number] {
  const source = { file: 'bearer', line: 1, column: 1 };
  const meta = {
    kind: 'RequestAuthentication',
    namespace: place,
    name: 'issuers',
    creationTimestamp: 0,
    labels: {},
    annotations: {},
    source,
  };
  const fromHeaders = [{ name: 'authorization', prefix: 'Bearer ' }];
  const jwtRules = issuers.map(({ issuer, audiences, jwks, jwksUri }) => ({
    issuer,
    audiences,
    fromHeaders,
    ...(jwks === undefined ? {} : { jwks }),
    ...(jwksUri === undefined ? {} : { jwksUri }),
  }));
  return { meta, spec: { jwtRules } };
}
