import { isSame } from './document.js';
import { optional } from './draft.js';
import { RefusedError, type Fields } from './fields.js';
import { pathOf, stringMatchFields } from './string-match.js';

/** Fields of one JWT of `authentication.istio.io` and of `config.istio.io`. */
export const jwtFields = [
  ...['issuer', 'audiences', 'jwksUri', 'jwks', 'jwtHeaders', 'jwtParams', 'triggerRules'],
  ...['forwardJwt', 'publicKeyCacheDuration', 'locations', 'jwksUriEnvoyCluster'],
];

/** A rule of RequestAuthentication and what its author should know. */
export interface ConvertedJwt {
  readonly rule: Readonly<Record<string, unknown>>;
  readonly notes: readonly string[];
}

/** The header in which the legacy filter gave the verified payload to the application. */
export const payloadHeader = 'sec-istio-auth-userinfo';

/** One legacy JWT as a rule of RequestAuthentication. */
export function convertJwt(jwt: Fields): ConvertedJwt {
  const notes: string[] = [];
  const issuer = jwt.text('issuer');
  if (issuer === undefined || issuer === '') throw new RefusedError(jwt.path, 'a token without an issuer cannot be verified');
  const locations = jwt.each('locations', ['header', 'query']);
  const headers = [...(jwt.texts('jwtHeaders') ?? []), ...locations.flatMap((one) => one.text('header') ?? [])];
  const params = [...(jwt.texts('jwtParams') ?? []), ...locations.flatMap((one) => one.text('query') ?? [])];
  if (jwt.has('publicKeyCacheDuration')) {
    notes.push('publicKeyCacheDuration is dropped: when keys are fetched again is not set per rule any more');
  }
  if (jwt.has('jwksUriEnvoyCluster')) notes.push('jwksUriEnvoyCluster is dropped: the host of jwksUri is called');
  if (!jwt.flag('forwardJwt')) {
    notes.push(
      `the raw token stops here and the payload arrives in ${payloadHeader}, as it did; forwardOriginalToken: true keeps the token`,
    );
  }
  const rule = {
    issuer,
    ...optional('audiences', jwt.texts('audiences')),
    ...optional('jwksUri', jwt.text('jwksUri')),
    ...optional('jwks', jwt.text('jwks')),
    ...optional('fromHeaders', headers.length === 0 ? undefined : headers.map((name) => fromHeader(name, notes))),
    ...optional('fromParams', params.length === 0 ? undefined : params),
    outputPayloadToHeader: payloadHeader,
    forwardOriginalToken: jwt.flag('forwardJwt'),
  };
  return { rule, notes };
}

function fromHeader(name: string, notes: string[]): Record<string, string> {
  if (name.toLowerCase() !== 'authorization') return { name };
  notes.push('a token in the header authorization is read after "Bearer "');
  return { name, prefix: 'Bearer ' };
}

/**
 * Where a token is needed, as `to` operations of a DENY policy: one for each trigger rule, undefined for everywhere.
 * All tokens of a policy must be needed in the same places: today's policies cannot tie an issuer to "where only that one is asked for".
 */
export function triggersOf(jwts: readonly Fields[]): readonly Readonly<Record<string, unknown>>[] | undefined {
  const all = jwts.map((jwt) => jwt.each('triggerRules', ['includedPaths', 'excludedPaths']).map((rule) => operationOf(rule)));
  const first = all[0] ?? [];
  const odd = all.findIndex((triggers) => !isSame(triggers, first));
  if (odd !== -1) {
    const place = `${jwts[odd]!.path}.triggerRules`;
    throw new RefusedError(place, 'the origins have different triggerRules; write one policy for each set of paths');
  }
  const isEverywhere = first.length === 0 || first.some((operation) => Object.keys(operation).length === 0);
  return isEverywhere ? undefined : first;
}

function operationOf(rule: Fields): Record<string, unknown> {
  const paths = (name: string): readonly string[] | undefined => {
    const found = rule.each(name, stringMatchFields).map((match) => pathOf(match));
    return found.length === 0 ? undefined : found;
  };
  return { ...optional('paths', paths('includedPaths')), ...optional('notPaths', paths('excludedPaths')) };
}

/** What changes for the callers when a missing token is refused by an AuthorizationPolicy. */
export const requiredTokenNotes = [
  'a request without a token was answered 401 and is answered 403 now',
  'a CORS preflight, which Istio 1.4 let pass, is such a request too: docs/authentication.md lets it pass',
];

/** What changes with trigger rules. */
export const triggerNote = 'an invalid token on a path that needs none was ignored and is answered 401 now';

/** `spec.rules` of the DENY policy that makes a token necessary; `ports` limits it to these. */
export function requireTokenRules(
  triggers: readonly Readonly<Record<string, unknown>>[] | undefined,
  ports: readonly string[] | undefined,
): readonly Readonly<Record<string, unknown>>[] {
  const from = [{ source: { notRequestPrincipals: ['*'] } }];
  const rules = triggers ?? [{}];
  return rules.map((paths) => {
    const operation = { ...paths, ...optional('ports', ports) };
    return { from, ...(Object.keys(operation).length === 0 ? {} : { to: [{ operation }] }) };
  });
}
