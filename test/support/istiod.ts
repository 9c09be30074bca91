import { createPrivateKey, sign } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { request } from 'node:https';

/** What istiod's start script says when it is ready. */
export interface IstiodReady {
  readonly caAddress: string;
  readonly plaintextAddress: string;
  readonly rootCert: string;
  readonly kube: { readonly address: string; readonly ca: string; readonly adminToken: string };
  readonly token: { readonly issuer: string; readonly audience: string; readonly kid: string; readonly privateKey: string };
}

/** Who a token names, and what may be wrong with it. */
export interface TokenOptions {
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly audience?: string;
  readonly lifeSeconds?: number;
}

/** A token of the issuer that istiod's JWT_RULE names. */
export function ownToken(
  { token }: IstiodReady,
  { namespace, serviceAccount, audience = token.audience, lifeSeconds = 600 }: TokenOptions,
): string {
  const now = Math.floor(Date.now() / 1000);
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const head = part({ alg: 'RS256', kid: token.kid, typ: 'JWT' });
  // An audience that is no array is not read by istiod.
  const claims = {
    iss: token.issuer,
    aud: [audience],
    sub: `system:serviceaccount:${namespace}:${serviceAccount}`,
    iat: now,
    exp: now + lifeSeconds,
  };
  const signed = `${head}.${part(claims)}`;
  const signature = sign('sha256', Buffer.from(signed), createPrivateKey(readFileSync(token.privateKey)));
  return `${signed}.${signature.toString('base64url')}`;
}

/** A projected token as the kubelet would ask for it: namespace and service account are created, then TokenRequest is called. */
export async function kubernetesToken(
  { kube }: IstiodReady,
  { namespace, serviceAccount, audience = 'istio-ca' }: TokenOptions,
): Promise<string> {
  await askKubernetes(kube, '/api/v1/namespaces', { metadata: { name: namespace } });
  const accounts = `/api/v1/namespaces/${namespace}/serviceaccounts`;
  await askKubernetes(kube, accounts, { metadata: { name: serviceAccount } });
  const answer = await askKubernetes(kube, `${accounts}/${serviceAccount}/token`, {
    spec: { audiences: [audience], expirationSeconds: 600 },
  });
  return (answer as { status: { token: string } }).status.token;
}

/** The root that istiod publishes to every namespace for mounting. */
export async function publishedRoot({ kube }: IstiodReady, namespace: string): Promise<string> {
  for (let tries = 0; tries < 100; tries++) {
    const found = (await askKubernetes(kube, `/api/v1/namespaces/${namespace}/configmaps/istio-ca-root-cert`)) as {
      data?: Record<string, string>;
    };
    const root = found.data?.['root-cert.pem'];
    if (root !== undefined) return root;
    await new Promise((wake) => setTimeout(wake, 100));
  }
  throw new Error('istiod published no root');
}

function askKubernetes(kube: IstiodReady['kube'], path: string, body?: object): Promise<unknown> {
  return new Promise((done, fail) => {
    const call = request(
      `${kube.address}${path}`,
      {
        method: body === undefined ? 'GET' : 'POST',
        ca: readFileSync(kube.ca),
        headers: { authorization: `Bearer ${kube.adminToken}`, 'content-type': 'application/json' },
      },
      (response) => {
        let text = '';
        response.on('data', (chunk: Buffer) => (text += chunk.toString()));
        response.on('end', () => done(JSON.parse(text)));
      },
    );
    call.on('error', fail);
    call.end(body === undefined ? undefined : JSON.stringify(body));
  });
}
