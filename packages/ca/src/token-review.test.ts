import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generateKeyPairSync } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { issueCertificate, rootOptions } from '@enmesh/core/x509';
import { openTokenReviewer, type TokenReviewer } from './token-review.js';

const directory = mkdtempSync(join(tmpdir(), 'enmesh-review-'));
const status = { authenticated: true, audiences: ['istio-ca'], user: { username: 'system:serviceaccount:shop:gateway' } };
let answer: { code: number; body: string; silent?: boolean } = { code: 201, body: '' };
let asked: { authorization: string | undefined; url: string | undefined; body: unknown };
let server: Server;
let reviewer: TokenReviewer;
const settings = () => ({
  url: `https://localhost:${(server.address() as AddressInfo).port}`,
  ca: join(directory, 'ca.pem'),
  tokenFile: join(directory, 'token'),
  audiences: ['istio-ca', 'other'],
});

beforeAll(async () => {
  const key = generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey;
  const times = { notBefore: Date.now() - 60_000, notAfter: Date.now() + 3_600_000 };
  const root = await issueCertificate({ ...rootOptions('kubernetes', key), ...times });
  const own = generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey;
  const leaf = { key: own, issuer: root, issuerKey: key, isCa: false, keyUsage: ['digitalSignature'] as const, ...times };
  const cert = await issueCertificate({ ...leaf, dnsSans: ['localhost'], extendedKeyUsage: ['1.3.6.1.5.5.7.3.1'] });
  writeFileSync(join(directory, 'ca.pem'), root);
  writeFileSync(join(directory, 'token'), 'reviewer-token\n');
  server = createServer({ cert, key: own.export({ type: 'pkcs8', format: 'pem' }) }, (request, response) => {
    let text = '';
    request.on('data', (chunk: Buffer) => (text += chunk.toString()));
    request.on('end', () => {
      asked = { authorization: request.headers.authorization, url: request.url, body: JSON.parse(text) };
      response.writeHead(answer.code, { 'content-type': 'application/json' }).end(answer.body);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  reviewer = await openTokenReviewer(settings());
});
afterAll(() => {
  server.close();
  server.closeAllConnections();
  rmSync(directory, { recursive: true });
});

const unproved = (text: RegExp): Error =>
  expect.objectContaining({ code: 'ENMESH_CA_UNPROVED', message: expect.stringMatching(text) as string }) as Error;
const say = (body: unknown, code = 201): void =>
  void (answer = { code, body: typeof body === 'string' ? body : JSON.stringify(body) });

describe('a review of a Kubernetes token', () => {
  it('asks in the API’s own terms and gives the service account', async () => {
    say({ status });
    expect(await reviewer.review('workload-token')).toEqual({ namespace: 'shop', serviceAccount: 'gateway' });
    expect(asked).toEqual({
      authorization: 'Bearer reviewer-token',
      url: '/apis/authentication.k8s.io/v1/tokenreviews',
      body: {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenReview',
        spec: { token: 'workload-token', audiences: ['istio-ca', 'other'] },
      },
    });
  });

  it('asks with the token that its file holds now', async () => {
    say({ status });
    writeFileSync(join(directory, 'token'), 'renewed-token');
    await reviewer.review('workload-token');
    expect(asked.authorization).toBe('Bearer renewed-token');
  });

  it.each([
    ['not authenticated', { status: { ...status, authenticated: false } }, /does not know/],
    ['an error instead', { status: { error: 'token has expired' } }, /does not know/],
    ['something true-like', { status: { ...status, authenticated: 'true' } }, /does not know/],
    ['no audiences', { status: { ...status, audiences: undefined } }, /for this authority/],
    ['another audience', { status: { ...status, audiences: ['kubernetes'] } }, /for this authority/],
    ['audiences as a text', { status: { ...status, audiences: 'istio-ca' } }, /for this authority/],
    ['a person', { status: { ...status, user: { username: 'admin' } } }, /no service account/],
    ['a node', { status: { ...status, user: { username: 'system:node:a' } } }, /no service account/],
    [
      'a name with a part too many',
      { status: { ...status, user: { username: 'system:serviceaccount:a:b:c' } } },
      /no service account/,
    ],
    ['nobody', { status: { ...status, user: undefined } }, /no service account/],
    ['nothing', null, /does not know/],
    ['no JSON', '<html>', /NO_JSON/],
    ['too much', `"${'x'.repeat(300_000)}"`, /TOO_LONG/],
  ])('proves nobody when the answer is %s', async (_, body, text) => {
    say(body);
    await expect(reviewer.review('workload-token')).rejects.toThrow(unproved(text));
  });

  it.each([200, 201])('takes status %d', async (code) => {
    say({ status }, code);
    await expect(reviewer.review('workload-token')).resolves.toBeDefined();
  });

  it.each([401, 403, 500, 302])('proves nobody with status %d', async (code) => {
    say({ status }, code);
    await expect(reviewer.review('workload-token')).rejects.toThrow(unproved(new RegExp(`HTTP ${code}`)));
  });

  it('proves nobody by a server that it has no reason to believe', async () => {
    say({ status });
    const key = generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey;
    const times = { notBefore: Date.now() - 60_000, notAfter: Date.now() + 3_600_000 };
    writeFileSync(join(directory, 'other.pem'), await issueCertificate({ ...rootOptions('other', key), ...times }));
    const stranger = await openTokenReviewer({ ...settings(), ca: join(directory, 'other.pem') });
    await expect(stranger.review('workload-token')).rejects.toThrow(unproved(/could not be asked/));
    const elsewhere = await openTokenReviewer({ ...settings(), url: settings().url.replace('localhost', '127.0.0.1') });
    await expect(elsewhere.review('workload-token')).rejects.toThrow(unproved(/ERR_TLS_CERT_ALTNAME_INVALID/));
  });

  it('does not begin without its files', async () => {
    await expect(openTokenReviewer({ ...settings(), tokenFile: '/nowhere' })).rejects.toThrow(
      expect.objectContaining({ code: 'ENMESH_CA_SETTINGS' }),
    );
  });

  it('asks nobody about what cannot be a token', async () => {
    await expect(reviewer.review('x'.repeat(16_385))).rejects.toThrow(unproved(/length/));
  });
});
