import { describe, expect, it } from 'vitest';
import { validateDocuments } from '../validate.js';

function validate(spec: object, others: readonly object[] = []): readonly string[] {
  const document = (kind: string, apiVersion: string, body: object): string =>
    JSON.stringify({ apiVersion, kind, metadata: { name: kind.toLowerCase(), namespace: 'shop' }, spec: body });
  const text = [document('TokenPropagation', 'enmesh.dev/v1', spec), ...others.map((one) => JSON.stringify(one))].join('\n---\n');
  const { problems } = validateDocuments([{ name: 'enmesh/t.yaml', text }]);
  return problems.map(({ level, path, message }) => `${level} ${path}: ${message}`);
}

const clientAuth = { method: 'client_secret_basic', clientId: 'gateway', clientSecretFile: '/run/secret' };
const exchange = { tokenEndpoint: 'https://idp.example/token', audience: 'billing', scope: ['invoice'], clientAuth };
const out = (entry: object): object => ({ outbound: [{ hosts: ['product'], ...entry }] });
const asked = (fields: object): object => out({ mode: 'EXCHANGE', exchange: { ...exchange, ...fields } });
const inbound = (fields: object): object => ({
  inbound: [{ principals: ['cluster.local/ns/shop/sa/gateway'], issuers: ['i'], ...fields }],
});

describe('TokenPropagation', () => {
  it.each([
    [out({})],
    [out({ mode: 'HOP', claims: ['scope', 'groups'] })],
    [{ selector: { matchLabels: { app: 'a' } }, outbound: [{ hosts: ['*'], mode: 'NONE' }] }],
    [out({ hosts: ['*.shop.svc.cluster.local'], mode: 'HOP' })],
    [asked({})],
    [asked({ audience: undefined, audiences: ['a', 'b'], requestedTokenType: 'txn_token', actorToken: 'svid-jwt' })],
    [asked({ clientAuth: { method: 'private_key_jwt', clientId: 'a', privateKeyFile: 'k.pem', keyId: '1' }, header: 'X-Token' })],
    [asked({ clientAuth: { method: 'tls_client_auth', clientId: 'a' } })],
    [asked({ clientAuth: { method: 'jwt_svid' } })],
    [asked({ caFile: '/etc/idp/ca.pem' })],
    [inbound({ maxActors: 2 })],
  ])('takes %j', (spec) => {
    expect(validate(spec)).toEqual([]);
  });

  it.each([
    [out({ claims: ['scope'] }), 'spec.outbound[0].claims: belongs to mode HOP; this one is NONE'],
    [out({ mode: 'HOP', claims: ['sub'] }), '"sub" cannot be listed'],
    [out({ mode: 'HOP', exchange }), 'belongs to mode EXCHANGE; this one is HOP'],
    [out({ mode: 'EXCHANGE' }), 'mode EXCHANGE lacks "exchange"'],
    [out({ hosts: ['*'], mode: 'HOP' }), 'mode HOP goes only to hosts that are named'],
    [out({ hosts: ['*.shop.svc.cluster.local'], mode: 'FORWARD' }), 'mode FORWARD goes only to hosts that are named'],
    [asked({ tokenEndpoint: 'http://idp.example/token' }), 'tokens and credentials would go over plain http'],
    [asked({ tokenEndpoint: 'https://me:secret@idp.example/' }), 'may hold neither user, password nor fragment'],
    [asked({ tokenEndpoint: 'idp.example' }), 'must be an https:// URL'],
    [
      asked({ tokenEndpoint: 'http://idp.shop.svc.cluster.local/', caFile: 'ca.pem' }),
      'exchange.caFile: belongs to an https:// tokenEndpoint',
    ],
    [asked({ audience: undefined, scope: undefined }), 'asks for a token without saying for whom'],
    [asked({ clientAuth: { method: 'client_secret_post', clientId: 'a' } }), 'client_secret_post needs "clientSecretFile"'],
    [asked({ clientAuth: { ...clientAuth, keyId: 'a' } }), 'client_secret_basic does not read "keyId"'],
    [asked({ header: 'Enmesh_Hop_Token' }), 'belongs to the mesh'],
    [asked({ header: 'x y' }), 'is no header name'],
    [asked({ requestedTokenType: 'id_token' }), 'must be one of access_token, jwt, txn_token'],
    [inbound({ principals: ['cluster.local/ns/shop/sa/*'] }), 'who may speak for users is named, not matched'],
    [inbound({ principals: ['spiffe://cluster.local/ns/a/sa/b'] }), 'is written without spiffe://'],
    [inbound({ principals: [] }), 'must not be empty'],
    [inbound({ issuers: ['https://*'] }), 'issuers are named, not matched'],
    [inbound({ issuers: undefined }), 'lacks "issuers"'],
    [inbound({ maxActors: 17 }), 'must be between 1 and 16'],
  ])('refuses %j', (spec, expected) => {
    const errors = validate(spec).filter((line) => line.startsWith('error'));
    expect(errors.join('\n')).toContain(expected);
  });

  it('says what FORWARD and a token endpoint in the clear give up', () => {
    expect(validate(out({ mode: 'FORWARD' })).join()).toMatch(
      /^warning spec\.outbound\[0\]\.mode: FORWARD gives the user's own token/,
    );
    const problems = validate(asked({ tokenEndpoint: 'http://127.0.0.1/token', insecureHttp: true }));
    expect(problems.join()).toMatch(/^warning spec\.outbound\[0\]\.exchange\.tokenEndpoint: .*plain http/);
  });

  it('refuses HOP and FORWARD where the documents say that no mutual TLS is spoken', () => {
    const meta = { name: 'x', namespace: 'shop' };
    const entry = (fields: object): object => ({
      apiVersion: 'networking.istio.io/v1',
      kind: 'ServiceEntry',
      metadata: meta,
      spec: { hosts: ['pay.example.com'], ports: [{ number: 80, name: 'http', protocol: 'HTTP' }], resolution: 'DNS', ...fields },
    });
    const spec = { outbound: [{ hosts: ['pay.example.com', 'product'], mode: 'HOP' }] };
    expect(validate(spec, [entry({})]).join()).toContain(
      'error spec.outbound[0].hosts[0]: mode HOP needs mutual TLS of the mesh, and "pay.example.com" is outside it',
    );
    expect(validate(spec, [entry({ location: 'MESH_INTERNAL' })])).toEqual([]);
    const rule = (mode: string): object => ({
      apiVersion: 'networking.istio.io/v1',
      kind: 'DestinationRule',
      metadata: meta,
      spec: { host: 'product', trafficPolicy: { tls: { mode } } },
    });
    expect(validate(spec, [rule('SIMPLE')]).join()).toContain('"product" gets tls mode SIMPLE from DestinationRule shop/x');
    expect(validate(spec, [rule('ISTIO_MUTUAL')])).toEqual([]);
  });
});
