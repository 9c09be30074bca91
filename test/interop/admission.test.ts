import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { runEnmesh } from '../support/command-line.js';
import { startRealServer } from '../support/real-server.js';

/** What the start script says when the API server is ready; `ca` is a file. */
interface KubeReady {
  readonly address: string;
  readonly ca: string;
  readonly adminToken: string;
}

interface Resource {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace: string; readonly resourceVersion?: string };
}

interface Reply {
  readonly status: number;
  readonly warning: string | undefined;
  readonly body: Resource & { readonly message?: string; readonly items?: Resource[] };
}

const root = join(import.meta.dirname, '../..');
const server = await startRealServer<KubeReady>('kube-apiserver');

/** What `kubectl apply -f DIRECTORY` would send: the files directly in it. The sub-folder enmesh/ is not for Kubernetes. */
const documentsOf = (directory: string): { file: string; resource: Resource }[] =>
  listFiles(directory).flatMap((file) =>
    parseAllDocuments(readFileSync(file, 'utf8')).map((document) => ({ file, resource: document.toJS() as Resource })),
  );

describe.skipIf(server === undefined)('a real API server with the definitions of Istio', () => {
  const kube = server?.ready as KubeReady;
  let work = '';
  const plurals = new Map<string, string>();

  const api = (method: string, path: string, body?: object, type = 'application/json'): Promise<Reply> =>
    new Promise((done, fail) => {
      const headers = { authorization: `Bearer ${kube.adminToken}`, 'content-type': type };
      const call = request(`${kube.address}${path}`, { method, headers, ca: readFileSync(kube.ca) }, (response) => {
        let text = '';
        response.on('data', (chunk: Buffer) => (text += chunk.toString()));
        response.on('end', () =>
          done({
            status: response.statusCode ?? 0,
            warning: response.headers['warning'] as string | undefined,
            body: JSON.parse(text) as Reply['body'],
          }),
        );
      });
      call.on('error', fail);
      call.end(body === undefined ? undefined : JSON.stringify(body));
    });
  /** The path of a kind's objects, asked of the server as kubectl does. */
  const collection = async (apiVersion: string, kind: string, namespace: string): Promise<string> => {
    const key = `${apiVersion}/${kind}`;
    if (!plurals.has(key)) {
      const { body } = await api('GET', `/apis/${apiVersion}`);
      const { resources } = body as unknown as { resources: { name: string; kind: string }[] };
      plurals.set(key, resources.find((one) => one.kind === kind && !one.name.includes('/'))?.name ?? 'unknown');
    }
    return `/apis/${apiVersion}/namespaces/${namespace}/${plurals.get(key)}`;
  };
  /** Server-side apply with strict fields: JSON is YAML. */
  const apply = async ({ apiVersion, kind, ...rest }: Resource): Promise<Reply> => {
    const { name, namespace } = rest.metadata;
    const path = `${await collection(apiVersion, kind, namespace)}/${name}?fieldManager=kubectl&fieldValidation=Strict`;
    return api('PATCH', path, { apiVersion, kind, ...rest }, 'application/apply-patch+yaml');
  };

  beforeAll(async () => {
    work = mkdtempSync(join(tmpdir(), 'enmesh-admission-'));
    for (const name of ['shop', 'demo', 'boutique']) await api('POST', '/api/v1/namespaces', { metadata: { name } });
  });
  afterAll(async () => {
    await server?.stop();
    if (work !== '') rmSync(work, { recursive: true, force: true });
  });

  /** The shop's directory as it stands when the shop runs: with the registry that its starter writes. */
  const shop = async (): Promise<string> => {
    const directory = mkdtempSync(join(work, 'shop-'));
    cpSync(join(root, 'examples/shop/mesh'), directory, { recursive: true });
    const { formatRegistry } = (await import(join(root, 'examples/platform/registry.mjs'))) as {
      formatRegistry: (entries: readonly object[]) => string;
    };
    const entries = ['gateway', 'product', 'stock'].map((name, i) => ({ name, port: 8080 + i, serviceAccount: name }));
    writeFileSync(join(directory, 'registry.yaml'), formatRegistry([...entries, { name: 'idp', port: 8090 }]));
    return directory;
  };

  it.each([
    ['the shop', shop],
    ['the boutique', async () => join(root, 'examples/boutique/mesh')],
    ['the README', async () => join(root, 'examples/minimal/mesh')],
    ['docs/identity.md', async () => join(root, 'examples/identity/mesh')],
  ])('takes every document of %s, and nothing changes when it is applied again', async (_what, place) => {
    const documents = documentsOf(await place());
    expect(documents.length).toBeGreaterThan(0);
    for (const { file, resource } of documents) {
      const first = await apply(resource);
      expect([file, first.status, first.body.message, first.warning]).toEqual([
        file,
        expect.toBeOneOf([200, 201]),
        undefined,
        undefined,
      ]);
      const again = await apply(resource);
      expect([again.status, again.body.metadata.resourceVersion]).toEqual([200, first.body.metadata.resourceVersion]);
    }
    console.log(`admission: ${documents.length} documents taken`);
  });

  it('gives back documents that mean the same to every workload of the shop', async () => {
    const directory = await shop();
    const documents = documentsOf(directory).map(({ resource }) => resource);
    for (const resource of documents) await apply(resource);
    const kinds = new Map(documents.map(({ apiVersion, kind }) => [`${apiVersion}/${kind}`, { apiVersion, kind }]));
    const items: Resource[] = [];
    for (const { apiVersion, kind } of kinds.values()) {
      const { body } = await api('GET', await collection(apiVersion, kind, 'shop'));
      // A list of one kind leaves both out of its items; kubectl puts them back.
      const ours = (body.items ?? []).filter(({ metadata }) =>
        documents.some((one) => one.kind === kind && one.metadata.name === metadata.name),
      );
      items.push(...ours.map((one) => ({ ...one, apiVersion, kind })));
    }
    expect(items).toHaveLength(documents.length);
    const back = join(work, 'back');
    mkdirSync(back);
    cpSync(join(directory, 'enmesh'), join(back, 'enmesh'), { recursive: true });
    writeFileSync(join(back, 'list.yaml'), JSON.stringify({ apiVersion: 'v1', kind: 'List', items }, null, 1));
    for (const workload of ['gateway', 'product', 'stock']) {
      const described = async (config: string): Promise<unknown> => {
        const file = join(root, 'examples/shop', workload, 'enmesh.yaml');
        const { code, out, error } = await runEnmesh(['describe', file, '--config', config, '--json']);
        expect([code, error]).toEqual([0, '']);
        return withoutPlaces(JSON.parse(out));
      };
      expect(await described(back)).toEqual(await described(directory));
    }
  });

  it.each([
    ['an unknown field', { acton: 'DENY', rules: [{}] }, 'spec.acton'],
    ['an unknown field further in', { rules: [{ from: [{ source: { principal: ['a'] } }] }] }, 'source.principal'],
    ['an unknown value', { action: 'REFUSE', rules: [{}] }, 'spec.action'],
    ['a value of another type', { rules: [{ to: [{ operation: { ports: [80] } }] }] }, 'operation.ports'],
  ])('refuses %s, as `enmesh validate` does', async (_what, spec, field) => {
    const metadata = { name: 'wrong', namespace: 'shop' };
    const resource = { apiVersion: 'security.istio.io/v1', kind: 'AuthorizationPolicy', metadata, spec };
    const { status, body } = await apply(resource);
    expect([400, 422, 500]).toContain(status);
    expect(body.message).toContain(field);
    const { code, out } = await runEnmesh(['validate', '-'], { input: JSON.stringify(resource) });
    expect(code).toBe(1);
    expect(out.replaceAll(/\[\d+\]/g, '')).toContain(field);
  });
});

function listFiles(directory: string): string[] {
  return readdirSync(directory)
    .filter((name) => name.endsWith('.yaml'))
    .sort()
    .map((name) => join(directory, name));
}

/** Drops where a thing was said, and the order of lists, which is that of files. */
function withoutPlaces(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutPlaces).sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([name]) => name !== 'source')
      .map(([name, one]) => [name, withoutPlaces(one)]),
  );
}
