import type { JwtRuleSpec, RequestAuthenticationSpec } from '../../jwt/resource.js';
import { childOf, errorAt, placeAt, warnAt, type Place } from '../place.js';
import { flag, invalidAt, listOf, record, refined, text, type Shape } from '../shape.js';
import { findKeySetFaults } from './jwks.js';
import { checkAttachment, targetRef, targetRefs, workloadSelector } from './selector.js';
import { duration, isHeaderName } from './values.js';

const name = text({ min: 1 });

/** Headers that frame the message or name its destination: writing a claim into them would break or redirect the request. */
const protectedHeaders = new Set([
  'host',
  'content-length',
  'transfer-encoding',
  'connection',
  'upgrade',
  'te',
  'trailer',
  'keep-alive',
  'expect',
]);

const outputHeader = refined(name, (value, place) => {
  if (!isHeaderName(value)) invalidAt(place, 'is no name of an HTTP header');
  else if (protectedHeaders.has(value.toLowerCase())) invalidAt(place, 'may not be a header that frames or routes the request');
});

const claimHeader = refined(outputHeader, (value, place) => {
  if (isHeaderName(value) && !/^[-_A-Za-z0-9]+$/.test(value)) invalidAt(place, 'may only hold letters, digits, "-" and "_"');
});

const jwksUri = refined(text({ min: 1, max: 2048 }), (value, place) => {
  if (!/^https?:\/\/[^/]/i.test(value) || !URL.canParse(value))
    invalidAt(place, 'must be a URL that begins with http:// or https://');
  else if (new URL(value).username !== '' || new URL(value).password !== '')
    invalidAt(place, 'may not hold a user name or password');
});

const jwks = refined(text({ max: 1024 * 1024 }), (value, place) => {
  if (value === '') return;
  for (const fault of findKeySetFaults(value)) {
    if (fault.level === 'error') invalidAt(place, fault.message, fault.hint);
    else warnAt(place, 'ENMESH_CONFIG_DOUBTFUL', fault.message, fault.hint);
  }
});

/** A field of Istio's that this version must not pass over: REQUIRED would demand a token that nobody then demands. */
const presence: Shape<never> = (place) =>
  errorAt(
    place,
    'ENMESH_CONFIG_UNSUPPORTED',
    'presence is not enforced by this version',
    'remove it, and demand a token by an AuthorizationPolicy with requestPrincipals: ["*"]',
  );

const jwtRuleFields = record<JwtRuleSpec & { readonly presence?: never }>(
  {
    issuer: name,
    audiences: listOf(name),
    jwksUri,
    jwks,
    fromHeaders: listOf(record<{ name: string; prefix?: string }>({ name, prefix: text() }, { required: ['name'] })),
    fromParams: listOf(name),
    fromCookies: listOf(name),
    outputPayloadToHeader: outputHeader,
    outputClaimToHeaders: listOf(
      record<{ header: string; claim: string }>({ header: claimHeader, claim: name }, { required: ['header', 'claim'] }),
    ),
    forwardOriginalToken: flag,
    timeout: duration,
    spaceDelimitedClaims: listOf(name, { max: 64 }),
    presence,
  },
  { aliases: { jwks_uri: 'jwksUri' } },
);

const jwtRule: Shape<JwtRuleSpec> = (place) => {
  const rule = jwtRuleFields(place);
  if (rule === undefined) return undefined;
  const hasUri = childOf(place, 'jwksUri') !== undefined || childOf(place, 'jwks_uri') !== undefined;
  if (childOf(place, 'issuer') === undefined && !hasUri) invalidAt(place, 'needs an `issuer` or a `jwksUri`');
  if (hasUri && (rule.jwks ?? '') !== '') invalidAt(placeAt(place, 'jwks'), 'only one of jwks and jwksUri can be set');
  warnUncheckedAudience(rule, place);
  warnListedIdentity(rule, place);
  if (rule.jwks !== '') return rule;
  // An empty `jwks` counts as absent in Istio, so that the keys are discovered from the issuer.
  const { jwks: _empty, ...discovered } = rule;
  return discovered;
};

/** Istio's documentation says that the service's name is accepted where audiences are absent; in fact nothing is checked. */
function warnUncheckedAudience(rule: JwtRuleSpec, place: Place): void {
  if (rule.audiences !== undefined && rule.audiences.length === 0 && placeAt(place, 'audiences').node.kind === 'list') {
    warnAt(placeAt(place, 'audiences'), 'ENMESH_CONFIG_DOUBTFUL', 'an empty list of audiences accepts tokens for anybody');
  }
}

/** As in Istio, a claim that is made a list is no text any more, and a principal is made of two texts. */
function warnListedIdentity({ spaceDelimitedClaims = [] }: JwtRuleSpec, place: Place): void {
  for (const [index, claim] of spaceDelimitedClaims.entries()) {
    if (claim !== 'iss' && claim !== 'sub') continue;
    const at = placeAt(place, 'spaceDelimitedClaims', index);
    const message = `users whose \`${claim}\` is made a list have no principal: no requestPrincipals match them`;
    warnAt(at, 'ENMESH_CONFIG_DOUBTFUL', message, 'leave it out');
  }
}

const specFields = record<RequestAuthenticationSpec>({
  selector: workloadSelector,
  targetRef,
  targetRefs,
  jwtRules: listOf(jwtRule, { max: 4096 }),
});

/**
 * `spec` of RequestAuthentication with Istio's validation (istio-semantics 2.11). Stricter: an inline `jwks` must hold a usable public key, a header that
 * a token is copied to must be one a request can carry, and `presence` is `ENMESH_CONFIG_UNSUPPORTED` in this version.
 */
export const requestAuthenticationSpec: Shape<RequestAuthenticationSpec> = refined(specFields, checkAttachment);
