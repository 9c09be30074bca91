import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestIssuer, type IssuerServer, type Misbehaviour, type TestIssuer } from '../testing/issuer.js';
import { fetchText } from './fetch-text.js';

let issuer: TestIssuer;
let server: IssuerServer;
beforeAll(async () => {
  issuer = await createTestIssuer({ alg: 'ES256' });
  server = await issuer.serve();
});
afterAll(() => server.close());

const signal = new AbortController().signal;
const fetch = (how?: Misbehaviour, timeoutMs = 30_000) => {
  server.misbehave(how);
  return fetchText(server.uri, { timeoutMs, signal });
};

describe('fetching a text', () => {
  it('gives status, type and body', async () => {
    expect(await fetch()).toEqual({ status: 200, contentType: 'application/json', body: issuer.jwksText });
    expect(await fetch('error')).toEqual({ status: 500, contentType: '', body: '' });
    expect(await fetch('html')).toMatchObject({ status: 200, contentType: 'text/html' });
  });

  it('follows a redirect within the origin', async () => {
    expect(await fetch('redirect-once')).toMatchObject({ status: 200, body: issuer.jwksText });
  });

  it.each<[Misbehaviour, string, RegExp]>([
    ['redirect-loop', 'ENMESH_JWT_FETCH_FAILED', /more than 3 redirects/],
    ['redirect-away', 'ENMESH_JWT_FETCH_REFUSED', /another origin/],
    ['huge', 'ENMESH_JWT_FETCH_FAILED', /larger than 1 MiB/],
    ['compressed', 'ENMESH_JWT_FETCH_FAILED', /compressed/],
  ])('rejects a server that does %s', async (how, code, message) => {
    await expect(fetch(how).then(({ status }) => status)).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message) as string,
    });
  });

  it.each<Misbehaviour>(['silent', 'drip'])('gives up on a server that is %s', async (how) => {
    await expect(fetch(how, 150)).rejects.toMatchObject({ code: 'ENMESH_JWT_FETCH_FAILED', message: 'no answer within 150 ms' });
  });

  it('ends when it is told to', async () => {
    server.misbehave('silent');
    const stop = new AbortController();
    const fetching = fetchText(server.uri, { timeoutMs: 30_000, signal: stop.signal });
    stop.abort();
    await expect(fetching).rejects.toThrow();
  });

  it('never goes to a link-local or metadata address', async () => {
    const urls = [
      'http://169.254.169.254/latest',
      'http://[fd00:ec2::254]/',
      'http://2852039166/',
      'https://[::ffff:a9fe:a9fe]/',
    ];
    for (const url of urls)
      await expect(fetchText(url, { timeoutMs: 30_000, signal })).rejects.toMatchObject({ code: 'ENMESH_JWT_FETCH_REFUSED' });
  });

  it('does not speak TLS to a server whose certificate nobody vouches for', async () => {
    await expect(fetchText(server.uri.replace('http:', 'https:'), { timeoutMs: 30_000, signal })).rejects.toThrow();
  });
});
