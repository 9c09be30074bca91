import { sign, X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createCaServer, initAuthority, parseCaSettings, type CaServer } from '@enmesh/ca';
import { noticeEvents, type NoticeEvent } from '@enmesh/core';
import { createIstioIdentity } from '@enmesh/istio';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { callCa, status, type CaAnswer } from '../support/ca-client.js';
import { startRealServer } from '../support/real-server.js';

/** What the start script says when the API server is ready; `ca` is a file. */
interface KubeReady {
  readonly address: string;
  readonly ca: string;
  readonly adminToken: string;
}

/** What is read of the API's answers. */
interface KubeObject {
  readonly status?: { readonly token?: string };
}

const server = await startRealServer<KubeReady>('kube-apiserver');

describe.skipIf(server === undefined)('a certificate authority that asks a real Kubernetes API server about tokens', () => {
  const kube = server?.ready as KubeReady;
  const work = mkdtempSync(join(tmpdir(), 'enmesh-kube-'));
  const directory = join(work, 'ca');
  const notices: NoticeEvent[] = [];
  let stop = (): void => {};
  let ca: CaServer;

  const api = (
    method: string,
    path: string,
    body?: object,
    token = kube.adminToken,
  ): Promise<{ status: number; body: KubeObject }> =>
    new Promise((done, fail) => {
      const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
      const call = request(`${kube.address}${path}`, { method, headers, ca: readFileSync(kube.ca) }, (response) => {
        let text = '';
        response.on('data', (chunk: Buffer) => (text += chunk.toString()));
        response.on('end', () => done({ status: response.statusCode ?? 0, body: JSON.parse(text) as KubeObject }));
      });
      call.on('error', fail);
      call.end(body === undefined ? undefined : JSON.stringify(body));
    });
  const create = async (path: string, body: object): Promise<KubeObject> => {
    const answer = await api('POST', path, body);
    if (answer.status !== 201) throw new Error(`${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  };
  const tokenOf = async (serviceAccount: string, audiences?: readonly string[]): Promise<string> => {
    const spec = { expirationSeconds: 600, ...(audiences === undefined ? {} : { audiences }) };
    return (await create(`/api/v1/namespaces/shop/serviceaccounts/${serviceAccount}/token`, { spec })).status?.token ?? '';
  };
  const call = (token: string, serviceAccount = 'gateway'): Promise<CaAnswer> =>
    callCa({ port: ca.port, roots: ca.roots(), token, uriSan: `spiffe://cluster.local/ns/shop/sa/${serviceAccount}` });
  const nameOf = (answer: CaAnswer): string | undefined => answer.chain[0] && new X509Certificate(answer.chain[0]).subjectAltName;
  const cause = (): string | undefined => notices.filter(({ kind }) => kind === 'certificate-refused').at(-1)?.message;
  const refused = { code: status.UNAUTHENTICATED, details: 'request authenticate failure', chain: [] };

  beforeAll(async () => {
    await create('/api/v1/namespaces', { metadata: { name: 'shop' } });
    for (const name of ['gateway', 'leaver', 'reviewer', 'stranger'])
      await create('/api/v1/namespaces/shop/serviceaccounts', { metadata: { name } });
    // All that an authority needs in the cluster.
    await create('/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', {
      metadata: { name: 'enmesh-ca' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'system:auth-delegator' },
      subjects: [{ kind: 'ServiceAccount', namespace: 'shop', name: 'reviewer' }],
    });
    writeFileSync(join(work, 'reviewer.token'), await tokenOf('reviewer'));
    await initAuthority({ directory, trustDomain: 'cluster.local', settings: { name: 'ca.yaml', text: '' } });
    const tokenReview = { url: kube.address, ca: kube.ca, tokenFile: join(work, 'reviewer.token'), audiences: ['istio-ca'] };
    ca = await createCaServer(parseCaSettings({ trustDomain: 'cluster.local', listen: '127.0.0.1:0', tokenReview }, directory));
    stop = noticeEvents.subscribe((notice) => notices.push(notice));
  });
  beforeEach(() => void (notices.length = 0));
  afterAll(async () => {
    stop();
    await ca?.close(0);
    await server?.stop();
    rmSync(work, { recursive: true, force: true });
  });

  it('gives a service account its identity for a token with the audience of the authority', async () => {
    const answer = await call(await tokenOf('gateway', ['istio-ca']));
    expect([answer.code, nameOf(answer)]).toEqual([0, 'URI:spiffe://cluster.local/ns/shop/sa/gateway']);
    expect((await call(await tokenOf('gateway', ['vault', 'istio-ca']))).code).toBe(0);
  });

  it('refuses a token for the API server itself, and for somebody else', async () => {
    expect(await call(await tokenOf('gateway'))).toMatchObject(refused);
    expect(cause()).toMatch(/does not know the token/);
    expect(await call(await tokenOf('gateway', ['vault']))).toMatchObject(refused);
  });

  /** A token signed with the cluster's own key, as the API server signs them, so that it differs from a good one by its times alone. */
  const signed = async (times: { readonly iat: number; readonly exp: number }): Promise<string> => {
    const [header = '', payload = ''] = (await tokenOf('gateway', ['istio-ca'])).split('.');
    const claims = { ...(JSON.parse(Buffer.from(payload, 'base64url').toString()) as object), ...times, nbf: times.iat };
    const input = `${header}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}`;
    const key = readFileSync(join(dirname(kube.ca), 'sa.key'));
    return `${input}.${sign('sha256', Buffer.from(input), key).toString('base64url')}`;
  };

  it('refuses a token that has expired', async () => {
    const now = Math.floor(Date.now() / 1000);
    expect((await call(await signed({ iat: now - 600, exp: now + 600 }))).code).toBe(0);
    expect(await call(await signed({ iat: now - 1200, exp: now - 600 }))).toMatchObject(refused);
    expect(cause()).toMatch(/does not know the token/);
  });

  it('refuses a token that was changed, is none, or is no service account’s', async () => {
    const good = await tokenOf('gateway', ['istio-ca']);
    const [header, payload = '', signature] = good.split('.');
    const claims = Buffer.from(payload, 'base64url').toString().replaceAll('gateway', 'stranger');
    for (const token of [`${header}.${Buffer.from(claims).toString('base64url')}.${signature}`, 'nonsense', kube.adminToken])
      expect(await call(token)).toMatchObject(refused);
  });

  it('refuses the token of a service account from the moment that it is deleted', async () => {
    const token = await tokenOf('leaver', ['istio-ca']);
    expect((await call(token, 'leaver')).code).toBe(0);
    expect((await api('DELETE', '/api/v1/namespaces/shop/serviceaccounts/leaver')).status).toBe(200);
    // The API server looks in a cache of its own for a few seconds.
    await expect.poll(async () => (await call(token, 'leaver')).code, { interval: 500 }).toBe(status.UNAUTHENTICATED);
  });

  it('believes nobody when it may not ask itself, until it may again', async () => {
    const token = await tokenOf('gateway', ['istio-ca']);
    const path = join(work, 'reviewer.token');
    const own = readFileSync(path, 'utf8');
    for (const [text, why] of [
      [await tokenOf('stranger'), 'HTTP 403'],
      ['nonsense', 'HTTP 401'],
    ] as const) {
      writeFileSync(path, text);
      expect(await call(token)).toMatchObject(refused);
      expect(cause()).toContain(why);
    }
    writeFileSync(path, own);
    expect((await call(token)).code).toBe(0);
  });

  it('is where a workload gets and renews its identity by its projected token', async () => {
    const tokenFile = join(work, 'istio-token');
    const rootCert = join(work, 'root-cert.pem');
    writeFileSync(tokenFile, await tokenOf('gateway', ['istio-ca']));
    writeFileSync(rootCert, ca.roots());
    const identity = await createIstioIdentity({
      workload: { namespace: 'shop', serviceAccount: 'gateway', labels: {} },
      trustDomain: 'cluster.local',
      env: {},
      ...{ address: ca.address, serverName: 'localhost', rootCert, tokenFile, ttlSeconds: 2 },
    });
    await identity.ready();
    const first = identity.svid.current();
    expect(first.id.uri).toBe('spiffe://cluster.local/ns/shop/sa/gateway');
    await expect.poll(() => identity.svid.current().serial).not.toBe(first.serial);
    await identity.close();
  });
});
