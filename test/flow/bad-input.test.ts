import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { createMesh, deniedEvents, noticeEvents, type DeniedEvent, type EnmeshError, type NoticeEvent } from '@enmesh/core';
import { createTestIssuer } from '@enmesh/core/testing';
import { openServer } from '@enmesh/core/inbound';
import { connect, createHouse, open, send, sendRaw, type House } from '../support/house.js';

const strict = `apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata:
  name: default
  namespace: shop
spec:
  mtls:
    mode: STRICT
`;
const open_ = strict.replace('STRICT', 'DISABLE');
const withToken = (issuer: string, jwksUri: string): string => `${open_}---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: users, namespace: shop}
spec: {jwtRules: [{issuer: "${issuer}", jwksUri: "${jwksUri}"}]}
`;

const root = mkdtempSync(join(tmpdir(), 'enmesh-bad-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** Writes a directory of files; its path. */
function directory(files: Record<string, string>): string {
  const path = mkdtempSync(join(root, 'mesh-'));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(path, name)), { recursive: true });
    writeFileSync(join(path, name), text);
  }
  return path;
}

/** A directory with an authority file of this content and mode. */
function authority(content: string, mode: number): string {
  const path = mkdtempSync(join(root, 'dev-'));
  writeFileSync(join(path, 'authority.pem'), content);
  chmodSync(join(path, 'authority.pem'), mode);
  return path;
}

const houses: House[] = [];
const house = async (policies: string, options = {}): Promise<House> => {
  const one = await createHouse(policies, options);
  houses.push(one);
  return one;
};
afterEach(() => Promise.all(houses.splice(0).map((one) => one.close())));

/** The error with which a service does not start; nothing may start instead. */
async function refusal(options: NonNullable<Parameters<typeof createMesh>[0]>): Promise<EnmeshError> {
  const identity = { dev: { directory: join(root, 'dev') } };
  const started = createMesh({ env: {}, namespace: 'shop', identity, log: false, ...options });
  return started.then(
    async (mesh) => {
      await mesh.close();
      throw new Error('the service started');
    },
    (error: EnmeshError) => error,
  );
}

describe('a service does not start', () => {
  const cases: readonly (readonly [string, () => Parameters<typeof refusal>[0], string, readonly string[]])[] = [
    [
      'without its configuration directory',
      () => ({ config: join(root, 'nowhere') }),
      'ENMESH_CONFIG_DIRECTORY_MISSING',
      ['nowhere', 'does not exist', 'ENMESH_CONFIG'],
    ],
    [
      'when nothing names a configuration directory',
      () => ({}),
      'ENMESH_CONFIG_DIRECTORY_MISSING',
      ['`config` in enmesh.yaml', 'ENMESH_CONFIG'],
    ],
    [
      'from an empty directory',
      () => ({ config: directory({}) }),
      'ENMESH_CONFIG_DIRECTORY_EMPTY',
      ['holds no .yaml', 'Put the policies there'],
    ],
    [
      'from a file in the place of the directory',
      () => ({ config: join(directory({ 'a.yaml': strict }), 'a.yaml') }),
      'ENMESH_CONFIG_DIRECTORY_MISSING',
      ['a.yaml is not a directory'],
    ],
    [
      'from YAML that is none',
      () => ({ config: directory({ 'a.yaml': strict, 'b.yaml': 'apiVersion: security.istio.io/v1\nkind: [Peer\nspec: {}\n' }) }),
      'ENMESH_CONFIG_INVALID',
      ['b.yaml:3:1', 'never closed'],
    ],
    [
      'from YAML indented by a tab',
      () => ({ config: directory({ 'b.yaml': strict.replace('  name', '\tname') }) }),
      'ENMESH_CONFIG_INVALID',
      ['b.yaml:4:1', 'spaces only'],
    ],
    [
      'with two documents of one kind, namespace and name',
      () => ({ config: directory({ 'a.yaml': strict, 'b.yaml': strict }) }),
      'ENMESH_CONFIG_INVALID',
      ['b.yaml:4:9', 'PeerAuthentication shop/default is defined twice, first at a.yaml:1', 'remove one, or rename it'],
    ],
    [
      'with a field that does not exist',
      () => ({ config: directory({ 'a.yaml': strict.replace('mode:', 'mod:') }) }),
      'ENMESH_CONFIG_INVALID',
      ['a.yaml:8:5', 'spec.mtls.mod', 'did you mean "mode"?'],
    ],
    [
      'without a namespace of the workload',
      () => ({ config: directory({ 'a.yaml': strict }), namespace: '' }),
      'ENMESH_CONFIG_NAMESPACE_MISSING',
      ['`namespace` in enmesh.yaml', 'POD_NAMESPACE'],
    ],
    [
      'with a service file that is absent',
      () => ({ file: join(root, 'absent.yaml') }),
      'ENMESH_CONFIG_FILE_UNREADABLE',
      ['absent.yaml', 'Check that the file exists'],
    ],
    [
      'with a misspelt field in its service file',
      () => ({ file: join(directory({ 'enmesh.yaml': 'namespace: shop\nconfg: ./mesh\n' }), 'enmesh.yaml') }),
      'ENMESH_CONFIG_SERVICE_FILE_INVALID',
      ['enmesh.yaml:2:1', 'did you mean "config"?'],
    ],
    [
      'with a key that cannot be read',
      () => ({ config: directory({ 'a.yaml': strict }), identity: { dev: { directory: authority('no key', 0o600) } } }),
      'ENMESH_ISSUANCE_AUTHORITY_UNUSABLE',
      ['authority.pem', 'delete it and have a new one made'],
    ],
    [
      'with a key that other users can read',
      () => ({ config: directory({ 'a.yaml': strict }), identity: { dev: { directory: authority('a key', 0o644) } } }),
      'ENMESH_ISSUANCE_AUTHORITY_UNUSABLE',
      ['authority.pem', 'chmod 600'],
    ],
    [
      'with a development identity in production',
      () => ({ config: directory({ 'a.yaml': strict }), env: { NODE_ENV: 'production' } }),
      'ENMESH_ISSUANCE_REFUSED_HERE',
      ['NODE_ENV is production'],
    ],
  ];

  it.each(cases)('%s', async (_title, options, code, words) => {
    const error = await refusal(options());
    expect(error).toMatchObject({ name: 'EnmeshError', code });
    for (const word of words) expect(`${error.message}\n${error.remedy}`).toContain(word);
    expect(error.remedy).not.toBe('');
  });

  it('when its clock stands before the beginning of its authority, and says both times', async () => {
    const config = directory({ 'a.yaml': strict });
    const identity = { dev: { directory: join(root, 'clock') } };
    const mesh = await createMesh({ env: {}, namespace: 'shop', identity, log: false, config });
    await mesh.close();
    const error = await refusal({ config, identity, clock: () => Date.parse('2020-01-01T00:00:00Z') });
    expect(error.code).toBe('ENMESH_ISSUANCE_CLOCK');
    expect(error.message).toMatch(/2020-01-01T00:00:00.000Z.*20\d\d-/);
  });

  it('on a port in use, which it names', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await new Promise((done) => taken.once('listening', done));
    const { port } = taken.address() as AddressInfo;
    const one = await house(strict);
    const server = one.mesh.createServer((_request, response) => response.end());
    const opening = openServer(server, { port, host: '127.0.0.1' });
    await expect(opening).rejects.toMatchObject({
      code: 'ENMESH_MESH_PORT',
      message: expect.stringContaining(`port ${port} of 127.0.0.1 is in use`),
      remedy: expect.stringContaining('Free the port'),
    });
    taken.close();
  });
});

describe('a key set that cannot be had refuses tokens, and only tokens', () => {
  const cases: readonly (readonly [string, 'html' | 'redirect-away' | undefined, boolean, string, readonly string[]])[] = [
    [
      'over http without leave',
      undefined,
      false,
      'ENMESH_JWT_FETCH_REFUSED',
      ['write in enmesh.yaml: jwks:', 'insecureHttp: true'],
    ],
    ['when the server answers with HTML', 'html', true, 'ENMESH_JWT_FETCH_FAILED', ['it answers with HTML']],
    ['when it leads away', 'redirect-away', true, 'ENMESH_JWT_FETCH_REFUSED', ['redirect']],
  ];

  /** The notice of the failed key set of a house, and what a good token then gets. */
  async function fail(
    jwksUri: string,
    insecureHttp: boolean,
  ): Promise<{ notice: NoticeEvent; statuses: number[]; body: string }> {
    const issuer = await createTestIssuer();
    const notices: NoticeEvent[] = [];
    const stop = noticeEvents.subscribe((notice) => notices.push(notice));
    const one = await house(withToken(issuer.issuer, jwksUri), { jwks: { [issuer.issuer]: { insecureHttp } } });
    stop();
    const port = await open(one.mesh.createServer((_request, response) => response.end('ok')));
    const token = await issuer.sign({ sub: 'alice' });
    const answer = await send({ port }, 'GET', '/', [['Authorization', `Bearer ${token}`]]);
    const without = await send({ port }, 'GET', '/');
    const notice = notices.find(({ kind }) => kind === 'key-set-failed');
    if (notice === undefined) throw new Error('nothing was said of the key set');
    expect(JSON.stringify(notice)).not.toContain(token.split('.')[2]);
    return { notice, statuses: [answer.status, without.status], body: answer.body };
  }

  it.each(cases)('%s', async (_title, how, insecureHttp, code, words) => {
    const server = await (await createTestIssuer()).serve();
    server.misbehave(how);
    const { notice, statuses } = await fail(server.uri, insecureHttp);
    expect(notice).toMatchObject({ code, level: 'error' });
    for (const word of ['RequestAuthentication shop/users', server.uri, ...words]) expect(notice.message).toContain(word);
    expect(statuses).toEqual([401, 200]);
    await server.close();
  });

  it('when the server is down', async () => {
    const server = await (await createTestIssuer()).serve();
    await server.close();
    const { notice, statuses } = await fail(server.uri, true);
    expect(notice).toMatchObject({ code: 'ENMESH_JWT_FETCH_FAILED', message: expect.stringContaining('ECONNREFUSED') });
    expect(statuses).toEqual([401, 200]);
  });
});

describe('a request that is not in order never reaches the handler', () => {
  let handled = 0;

  /** A server in the clear that takes headers of any size, so that it is not Node's limit which refuses. */
  async function server(
    policies: string,
    http: { maxHeaderSize?: number } = { maxHeaderSize: 1 << 20 },
  ): Promise<{ port: number }> {
    handled = 0;
    const one = await house(policies);
    const listener = one.mesh.createServer(
      (_request, response) => {
        handled += 1;
        response.end('ok');
      },
      { http },
    );
    return { port: await open(listener) };
  }
  const inline = `${open_}---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: users, namespace: shop}
spec: {jwtRules: [{issuer: "ISSUER", jwks: 'JWKS', fromHeaders: [{name: authorization, prefix: "Bearer "}], fromParams: [token]}]}
`;

  it.each([
    ['in its header', '/', 'Authorization: Bearer '],
    ['in its query', '/?token=', ''],
  ])('a token of 100 KB %s', async (_title, target, header) => {
    const { port } = await server(inline);
    const token = 'a'.repeat(100 * 1024);
    const [path, line] = header === '' ? [`${target}${token}`, ''] : [target, `${header}${token}\r\n`];
    const answer = await sendRaw({ port }, `GET ${path} HTTP/1.1\r\nHost: a\r\n${line}Connection: close\r\n\r\n`);
    expect([answer.status, handled]).toEqual([401, 0]);
    expect(answer.body).toBe('Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections');
  });

  it('a token of 100 KB, by the limit of Node where none is set', async () => {
    const { port } = await server(inline, {});
    const token = 'a'.repeat(100 * 1024);
    const answer = await send({ port }, 'GET', '/', [['Authorization', `Bearer ${token}`]]);
    expect([answer.status === 431 || answer.ended === 'ECONNRESET', handled]).toEqual([true, 0]);
  });

  it.each([
    [
      'Host',
      [
        ['Host', 'a'],
        ['Host', 'b'],
      ],
    ],
    [
      'Host, equal',
      [
        ['Host', 'a'],
        ['host', 'a'],
      ],
    ],
    [
      'Authorization',
      [
        ['Authorization', 'Bearer a'],
        ['authorization', 'Bearer b'],
      ],
    ],
  ] as const)('two lines of %s', async (_name, headers) => {
    const { port } = await server(inline);
    const denied: DeniedEvent[] = [];
    const stop = deniedEvents.subscribe((event) => denied.push(event));
    const answer = await send({ port }, 'GET', '/', headers);
    stop();
    expect([answer.status, handled]).toEqual([400, 0]);
    expect(denied).toMatchObject([{ code: 'ENMESH_INBOUND_HEADERS', id: answer.headers['x-enmesh-decision'] }]);
    expect(JSON.stringify(denied)).not.toContain('Bearer');
  });

  it('a client that sends nothing, which is cut off at a deadline in every mode', async () => {
    const denied: string[] = [];
    const stop = deniedEvents.subscribe(({ code }) => denied.push(code));
    const ended = ['STRICT', 'PERMISSIVE', 'DISABLE'].map(async (mode) => {
      const { port } = await server(strict.replace('STRICT', mode));
      const socket = connect({ port });
      socket.resume();
      return new Promise((done) => socket.on('error', () => {}).on('close', () => done('cut off')));
    });
    expect(await Promise.all(ended)).toEqual(['cut off', 'cut off', 'cut off']);
    stop();
    expect(denied).toEqual(['ENMESH_TLS_ACCEPT_TIMEOUT', 'ENMESH_TLS_ACCEPT_TIMEOUT', 'ENMESH_TLS_ACCEPT_TIMEOUT']);
    expect(handled).toBe(0);
  });
});
