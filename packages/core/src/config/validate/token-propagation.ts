import type {
  ClientAuthSpec,
  ExchangeSpec,
  InboundPropagation,
  OutboundPropagation,
  TokenPropagationSpec,
} from '../../propagation/resource.js';
import { childOf, placeAt, warnAt, type Place } from '../place.js';
import { quote } from '../problem.js';
import { flag, integer, invalidAt, listOf, oneOf, record, refined, text, type Shape } from '../shape.js';
import { workloadSelector } from './selector.js';
import { isHeaderName, isHostPattern } from './values.js';

/** Whole chains travel in every hop token, so they stay short. */
const mostActors = 16;

const host = refined(text({ min: 1 }), (value, place) => {
  if (!isHostPattern(value)) invalidAt(place, `${quote(value)} is no host name`);
});

/** What every hop token says anyway, or what JavaScript would not take as an ordinary name. */
const fixedClaims = ['iss', 'sub', '__proto__'];

const claim = refined(text({ min: 1, max: 256 }), (value, place) => {
  if (fixedClaims.includes(value)) invalidAt(place, `${quote(value)} cannot be listed`, 'issuer and subject always travel');
});

/** A text, or a list of texts. */
const oneOrMore: Shape<readonly string[]> = (place) => {
  if (place.node.kind === 'list') return listOf(text({ min: 1, max: 2048 }), { min: 1, max: 32 })(place);
  const one = text({ min: 1, max: 2048 })(place);
  return one === undefined ? undefined : [one];
};

const endpoint = refined(text({ min: 1, max: 2048 }), (value, place) => {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) invalidAt(place, 'must be an https:// URL');
  else if (url.username !== '' || url.password !== '' || url.hash !== '')
    invalidAt(place, 'may hold neither user, password nor fragment', 'credentials belong into clientAuth');
});

const clientAuthFields = record<ClientAuthSpec>(
  {
    method: oneOf('client_secret_basic', 'client_secret_post', 'private_key_jwt', 'tls_client_auth', 'jwt_svid'),
    clientId: text({ min: 1, max: 1024 }),
    clientSecretFile: text({ min: 1 }),
    privateKeyFile: text({ min: 1 }),
    keyId: text({ min: 1, max: 256 }),
    audience: text({ min: 1, max: 2048 }),
  },
  { required: ['method'] },
);

/** What each method cannot do without, and what it alone reads. */
const wantedFields: Readonly<Record<ClientAuthSpec['method'], readonly (keyof ClientAuthSpec)[]>> = {
  client_secret_basic: ['clientId', 'clientSecretFile'],
  client_secret_post: ['clientId', 'clientSecretFile'],
  private_key_jwt: ['clientId', 'privateKeyFile'],
  tls_client_auth: ['clientId'],
  jwt_svid: [],
};
const furtherFields: Readonly<Record<ClientAuthSpec['method'], readonly (keyof ClientAuthSpec)[]>> = {
  client_secret_basic: [],
  client_secret_post: [],
  private_key_jwt: ['keyId', 'audience'],
  tls_client_auth: [],
  jwt_svid: ['clientId', 'audience'],
};

const clientAuth = refined(clientAuthFields, (auth, place) => {
  const wanted = wantedFields[auth.method];
  for (const field of wanted) if (auth[field] === undefined) invalidAt(place, `${auth.method} needs ${quote(field)}`);
  const read = ['method', ...wanted, ...furtherFields[auth.method]];
  for (const field of Object.keys(auth))
    if (!read.includes(field)) invalidAt(placeAt(place, field), `${auth.method} does not read ${quote(field)}`);
});

const headerName: Shape<string> = (place) => {
  const value = text({ min: 1, max: 128 })(place);
  if (value === undefined) return undefined;
  if (!isHeaderName(value)) return invalidAt(place, `${quote(value)} is no header name`);
  const name = value.toLowerCase();
  if (ownHeaders.test(name.replaceAll('_', '-'))) return invalidAt(place, `${quote(value)} belongs to the mesh`);
  return name;
};
const ownHeaders =
  /^(?:x-enmesh-.*|enmesh-hop-token|sec-istio-auth-userinfo|x-forwarded-client-cert|host|connection|content-length|transfer-encoding|te|upgrade|expect|cookie)$/;

const exchangeFields = record<ExchangeSpec>(
  {
    tokenEndpoint: endpoint,
    insecureHttp: flag,
    caFile: text({ min: 1 }),
    audience: oneOrMore,
    resource: oneOrMore,
    scope: oneOrMore,
    actorToken: oneOf('svid-jwt', 'none'),
    requestedTokenType: oneOf('access_token', 'jwt', 'txn_token'),
    clientAuth,
    header: headerName,
  },
  { required: ['tokenEndpoint', 'clientAuth'], aliases: { audiences: 'audience' } },
);

const exchange = refined(exchangeFields, (spec, place) => {
  if (/^http:/i.test(spec.tokenEndpoint)) {
    warnOrRefuseHttp(spec, place);
    if (spec.caFile !== undefined) invalidAt(placeAt(place, 'caFile'), 'belongs to an https:// tokenEndpoint');
  }
  // Keycloak answers such a request with a token for nobody in particular.
  if (spec.audience === undefined && spec.resource === undefined && spec.scope === undefined)
    invalidAt(place, 'asks for a token without saying for whom', 'give audience, resource or scope');
});

/** The names of services of the cluster: whether mutual TLS is spoken there is known, and decided, when a token is exchanged. */
const serviceName = /\.svc\.[\w.-]+$/i;

function warnOrRefuseHttp({ insecureHttp, tokenEndpoint }: ExchangeSpec, place: Place): void {
  const at = placeAt(place, 'tokenEndpoint');
  if (insecureHttp !== true) {
    if (serviceName.test(new URL(tokenEndpoint).hostname)) return;
    invalidAt(at, 'tokens and credentials would go over plain http', 'use https, or say insecureHttp: true on a laptop');
    return;
  }
  warnAt(at, 'ENMESH_CONFIG_DOUBTFUL', 'tokens and credentials go over plain http: whoever is on the way has them');
}

const outboundFields = record<OutboundPropagation>(
  {
    hosts: listOf(host, { min: 1, max: 1000 }),
    mode: oneOf('NONE', 'HOP', 'EXCHANGE', 'FORWARD'),
    claims: listOf(claim, { max: 100 }),
    exchange,
  },
  { required: ['hosts'] },
);

const outbound = refined(outboundFields, ({ hosts, mode = 'NONE', claims, exchange: asked }, place) => {
  if (claims !== undefined && mode !== 'HOP') invalidAt(placeAt(place, 'claims'), `belongs to mode HOP; this one is ${mode}`);
  if (asked !== undefined && mode !== 'EXCHANGE')
    invalidAt(placeAt(place, 'exchange'), `belongs to mode EXCHANGE; this one is ${mode}`);
  if (mode === 'EXCHANGE' && childOf(place, 'exchange') === undefined) invalidAt(place, 'mode EXCHANGE lacks "exchange"');
  hosts.forEach((name, at) => {
    const isTooWide = mode === 'FORWARD' ? name.startsWith('*') : mode !== 'NONE' && name === '*';
    if (isTooWide) invalidAt(placeAt(place, 'hosts', at), `mode ${mode} goes only to hosts that are named`, 'list them');
  });
  if (mode === 'FORWARD')
    warnAt(
      placeAt(place, 'mode'),
      'ENMESH_CONFIG_DOUBTFUL',
      "FORWARD gives the user's own token to these services: each of them can use it anywhere it is accepted until it expires",
      'HOP carries the user without the token',
    );
});

const principal = refined(text({ min: 1, max: 2048 }), (value, place) => {
  if (value.includes('*')) invalidAt(place, 'who may speak for users is named, not matched', 'write whole principals');
  else if (value.startsWith('spiffe://')) invalidAt(place, 'is written without spiffe://', `write ${quote(value.slice(9))}`);
  else if (!/^[a-z0-9._-]+(?:\/[A-Za-z0-9._-]+)+$/.test(value))
    invalidAt(place, `${quote(value)} is no principal`, 'such as "cluster.local/ns/shop/sa/gateway"');
});

const issuer = refined(text({ min: 1, max: 2048 }), (value, place) => {
  if (value.includes('*')) invalidAt(place, 'issuers are named, not matched', 'write whole issuers');
});

const inbound = record<InboundPropagation>(
  {
    principals: listOf(principal, { min: 1, max: 1000 }),
    issuers: listOf(issuer, { min: 1, max: 1000 }),
    maxActors: integer(1, mostActors),
  },
  { required: ['principals', 'issuers'] },
);

/** `spec` of TokenPropagation (enmesh.dev/v1); see `propagation/resource`. FORWARD and a token endpoint over http are told as doubtful. */
export const tokenPropagationSpec: Shape<TokenPropagationSpec> = record<TokenPropagationSpec>({
  selector: workloadSelector,
  outbound: listOf(outbound, { max: 1000 }),
  inbound: listOf(inbound, { max: 1000 }),
});
