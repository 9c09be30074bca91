import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { IdentityChoice } from '../identity/choice.js';
import type { MeshIdentity } from '../identity/source.js';
import { noticeEvents, type NoticeEvent } from '../telemetry/events.js';
import { createTestAuthority } from '../testing/authority.js';
import { openIdentity, type OpenedIdentity } from './open-identity.js';

const workload = { namespace: 'shop', serviceAccount: 'product', labels: {} };
let root: string;
let notices: NoticeEvent[] = [];
let stop = (): void => {};
let opened: OpenedIdentity | undefined;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'enmesh-open-'));
  notices = [];
  stop = noticeEvents.subscribe((notice) => void notices.push(notice));
});
afterEach(async () => {
  stop();
  await opened?.close();
  await rm(root, { recursive: true, force: true });
});

const open = async (
  identity: IdentityChoice | MeshIdentity,
  env: NodeJS.ProcessEnv = {},
  isIdentitySaid = true,
): Promise<OpenedIdentity> => {
  const place = { root, devDirectory: join(root, '.enmesh') };
  return (opened = await openIdentity({ identity, isIdentitySaid, env, workload, trustDomain: 'cluster.local', ...place }));
};
const writeCertificates = async (): Promise<string> => {
  const authority = await createTestAuthority();
  const svid = await authority.issue(workload);
  const folder = join(root, '/etc/certs');
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'cert-chain.pem'), svid.chain);
  await writeFile(join(folder, 'key.pem'), svid.privateKey.export({ type: 'pkcs8', format: 'pem' }));
  await writeFile(join(folder, 'root-cert.pem'), authority.rootPem);
  return svid.serial;
};
const chosen = (): readonly string[] => notices.filter(({ kind }) => kind === 'identity-chosen').map(({ message }) => message);

describe('openIdentity', () => {
  it('takes for auto what the platform left, and says which and why', async () => {
    const serial = await writeCertificates();
    const { identity, ready } = await open({ auto: true }, { KUBERNETES_SERVICE_HOST: '10.0.0.1' }, false);
    await ready();
    expect(identity.svid.current().serial).toBe(serial);
    expect(chosen()).toEqual([
      `The identity comes from files of ${join(root, '/etc/certs')}: /etc/certs holds cert-chain.pem, as of Istio's agent (OUTPUT_CERTS) and its mounted certificates`,
    ]);
  });

  it('finds the directory of `files` where none was named', async () => {
    const serial = await writeCertificates();
    const { identity, ready } = await open({ files: {} });
    await ready();
    expect(identity.svid.current().serial).toBe(serial);
  });

  it('begins with the development authority on a laptop: without a word when nobody asked', async () => {
    const { identity, ready } = await open({ auto: true }, {}, false);
    await ready();
    expect(identity.svid.current().id.uri).toBe('spiffe://cluster.local/ns/shop/sa/product');
    expect(chosen()).toEqual([]);
    await opened!.close();
    await open({ auto: true });
    expect(chosen()[0]).toContain('the development authority');
  });

  it('does not begin in production without an identity', async () => {
    await expect(open({ auto: true }, { NODE_ENV: 'production' }, false)).rejects.toMatchObject({
      code: 'ENMESH_ISSUANCE_NO_SOURCE',
    });
  });

  it('waits for a value given by code by its own ready, and leaves it open', async () => {
    let closed = 0;
    const authority = await createTestAuthority();
    const value = {
      ...(await authority.identity(workload)),
      ready: () => Promise.reject(new Error('its own')),
      close: () => void closed++,
    };
    const { identity, ready, close } = await open(value);
    expect(identity).toBe(value);
    await expect(ready()).rejects.toThrow('its own');
    await close();
    expect(closed).toBe(0);
  });
});
