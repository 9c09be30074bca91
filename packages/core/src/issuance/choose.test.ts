import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { chooseFiles, chooseIdentity, istioTokenFile, knownDirectories, type ChosenIdentity } from './choose.js';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'enmesh-choose-'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

const choose = (env: NodeJS.ProcessEnv = {}): Promise<ChosenIdentity> =>
  chooseIdentity({ devDirectory: '/home/.enmesh', env, root });
const put = async (...paths: readonly string[]): Promise<void> => {
  for (const path of paths) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), 'x');
  }
};
const credentials = knownDirectories[0]!;
const everything = { OUTPUT_CERTS: '/out', SPIFFE_ENDPOINT_SOCKET: 'unix:///run/spire.sock', CA_ADDR: 'istiod:15012' };

describe('chooseIdentity', () => {
  it('takes the development authority on a laptop', async () => {
    expect((await choose()).choice).toEqual({ dev: { directory: '/home/.enmesh', allowAnywhere: false } });
  });

  it('prefers files to a Workload API, that to the CA of Istio, and every platform to the development authority', async () => {
    await put(istioTokenFile, `${credentials}/certificates.pem`, '/etc/certs/key.pem');
    expect(await choose(everything)).toEqual({
      choice: { files: { directory: join(root, '/out') } },
      why: 'OUTPUT_CERTS is set',
    });
    const { OUTPUT_CERTS: _, ...noOutput } = everything;
    expect(await choose(noOutput)).toEqual({
      choice: { files: { directory: join(root, credentials) } },
      why: `${credentials} holds certificates.pem, as of GKE mesh certificates`,
    });
    await rm(join(root, credentials), { recursive: true });
    expect((await choose(noOutput)).choice).toEqual({ files: { directory: join(root, '/etc/certs') } });
    await rm(join(root, '/etc/certs'), { recursive: true });
    expect((await choose(noOutput)).choice).toEqual({ spiffe: {} });
    expect((await choose({ CA_ADDR: 'istiod:15012' })).why).toBe('CA_ADDR is set');
    expect(await choose()).toEqual({ choice: { istio: {} }, why: `${istioTokenFile} is there` });
  });

  it('passes over a directory that a platform made and left empty, and one with a root alone', async () => {
    await mkdir(join(root, credentials), { recursive: true });
    await put('/etc/certs/ca.crt');
    expect(await choose()).toMatchObject({ choice: { dev: {} } });
  });

  it('finds nothing in production and names every place it looked at', async () => {
    const error: unknown = await choose({ KUBERNETES_SERVICE_HOST: '10.0.0.1' }).catch((error: unknown) => error);
    expect(error).toMatchObject({ code: 'ENMESH_ISSUANCE_NO_SOURCE' });
    for (const place of [...knownDirectories, istioTokenFile, 'OUTPUT_CERTS', 'SPIFFE_ENDPOINT_SOCKET', 'CA_ADDR', 'Kubernetes'])
      expect((error as Error).message).toContain(place);
  });

  it('takes an empty variable for none', async () => {
    expect(await choose({ OUTPUT_CERTS: '', SPIFFE_ENDPOINT_SOCKET: ' ', CA_ADDR: '' })).toMatchObject({ choice: { dev: {} } });
  });
});

describe('chooseFiles', () => {
  it('takes the first known directory that holds certificates, and says where it looked when none does', async () => {
    await expect(chooseFiles({ env: {}, root })).rejects.toMatchObject({ code: 'ENMESH_ISSUANCE_NO_SOURCE' });
    await put('/var/run/secrets/spiffe.io/tls.crt');
    expect((await chooseFiles({ env: {}, root })).choice).toEqual({
      files: { directory: join(root, '/var/run/secrets/spiffe.io') },
    });
  });
});
