// Makes what both twins need: identities of a test authority, a token, and the policies of the shop's product service.
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createTestAuthority, createTestIssuer } from '@enmesh/core/testing';

const pem = (key) => key.export({ type: 'pkcs8', format: 'pem' });

/** Mutual TLS and nothing else: what a caller must prove in its handshake. */
const mode = (name) => `apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: ${name}}}
`;

/** The shop's product policies, with a user token beside them so that the whole pipeline runs. */
const policies = (issuer) => `${mode('STRICT')}---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: users, namespace: shop}
spec:
  jwtRules:
  - issuer: ${issuer.issuer}
    audiences: [shop]
    jwks: '${issuer.jwksText}'
    outputPayloadToHeader: sec-istio-auth-userinfo
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: callers, namespace: shop}
spec:
  selector: {matchLabels: {app: product}}
  rules:
  - from: [{source: {principals: [cluster.local/ns/shop/sa/gateway]}}]
    to: [{operation: {methods: [GET], paths: ["/products/*"]}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: readers, namespace: shop}
spec:
  selector: {matchLabels: {app: product}}
  rules:
  - from: [{source: {requestPrincipals: ["*"]}}]
    when: [{key: "request.auth.claims[groups]", values: [customer]}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-drafts, namespace: shop}
spec:
  action: DENY
  rules:
  - to: [{operation: {paths: ["/products/drafts/*"]}}]
  - when: [{key: "request.headers[x-debug]", values: ["*"]}]
`;

/** So many more rules, half of ALLOW and half of DENY, that the request is no case of: callers, methods, paths and claims of their own. */
function moreRules(count) {
  const meta = (name) =>
    `apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: ${name}, namespace: shop}\n`;
  const rule = (i) =>
    `  - from: [{source: {principals: [cluster.local/ns/shop/sa/client-${i}]}}]\n` +
    `    to: [{operation: {methods: [GET], paths: ["/items/${i}/*"]}}]\n` +
    `    when: [{key: "request.auth.claims[groups]", values: [group-${i}]}]\n`;
  const policy = (name, action, own) => `---\n${meta(name)}spec:\n  action: ${action}\n  rules:\n${own.map(rule).join('')}`;
  const numbers = Array.from({ length: count }, (_, i) => i);
  const half = count >> 1;
  return (
    policy('more-allow', 'ALLOW', numbers.slice(half)) + (half > 0 ? policy('more-deny', 'DENY', numbers.slice(0, half)) : '')
  );
}

/** Writes the set-up, with so many more rules, to a temporary directory and returns its file with the values a check needs. */
export async function prepare(rules) {
  const directory = mkdtempSync(join(tmpdir(), 'enmesh-bench-'));
  const authority = await createTestAuthority();
  const foreign = await createTestAuthority();
  const issuer = await createTestIssuer();
  const server = await authority.issue({ namespace: 'shop', serviceAccount: 'product' });
  const client = await authority.issue({ namespace: 'shop', serviceAccount: 'gateway' });
  const stranger = await foreign.issue({ namespace: 'shop', serviceAccount: 'gateway' });
  const token = await issuer.sign(
    {
      sub: 'jane',
      aud: 'shop',
      groups: ['customer'],
      scope: 'products:read stock:read',
      name: 'Jane',
    },
    { expiresIn: 3600 },
  );
  const config = join(directory, 'mesh');
  mkdirSync(config);
  writeFileSync(join(config, 'policies.yaml'), policies(issuer) + (rules === undefined ? '' : moreRules(rules)));
  const alone = (name) => {
    const path = join(directory, name.toLowerCase());
    mkdirSync(path);
    writeFileSync(join(path, 'mode.yaml'), mode(name));
    return path;
  };
  const setup = {
    id: server.id.uri,
    chain: server.chain,
    key: pem(server.privateKey),
    notBefore: server.notBefore,
    notAfter: server.notAfter,
    roots: [authority.rootPem],
    config,
    identityConfig: alone('STRICT'),
    permissiveConfig: alone('PERMISSIVE'),
    token,
    client: { chain: client.chain, key: pem(client.privateKey) },
    stranger: { chain: stranger.chain, key: pem(stranger.privateKey) },
  };
  const file = join(directory, 'setup.json');
  writeFileSync(file, JSON.stringify(setup), { mode: 0o600 });
  return { directory, file, setup };
}
