import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createMesh, noticeEvents, type Mesh, type NoticeEvent, type PeerIdentity, type X509Svid } from '@enmesh/core';
import { createTestAuthority } from '@enmesh/core/testing';
import { send } from '../support/house.js';
import { untilHolds } from '../support/waiting.js';
import { peerAuthentication, serviceEntry } from '../support/documents.js';

/** A Workload API with two identities for this process, the second with the hint `second`, and one federated trust domain. */
export interface WorkloadWorld {
  readonly socket: string;
  readonly trustDomain: string;
  /** `ns/shop/sa/web` and `ns/shop/sa/second`. */
  readonly ids: readonly [web: string, second: string];
  readonly federated: string;
  /** PEM, of the own trust domain. */
  readonly roots: string;
  /** How long a renewal may take, in milliseconds. */
  readonly renewalMs: number;
  /** An SVID of the federated trust domain. */
  foreignSvid(): Promise<X509Svid>;
  restartAgent(): Promise<void>;
  /** Takes the second identity away, and gives it again. */
  removeSecond(): Promise<void>;
  restoreSecond(): Promise<void>;
  stop(): Promise<void>;
}

/** The caller that the door verified. */
export function peerOf(request: IncomingMessage): string | undefined {
  return (request as IncomingMessage & { readonly enmesh: { readonly peer?: PeerIdentity } }).enmesh.peer?.uri;
}

const url = 'http://second.shop.svc.cluster.local/';

/** What two services with identities of one agent go through, whoever speaks for the agent. */
export function describeWorkloadWorld(name: string, start: () => Promise<WorkloadWorld>, isAbsent = false): void {
  describe.skipIf(isAbsent)(name, () => {
    const directory = mkdtempSync(join(tmpdir(), 'enmesh-spiffe-'));
    const notices: NoticeEvent[] = [];
    const ends: (() => unknown)[] = [() => rmSync(directory, { recursive: true, force: true })];
    let world: WorkloadWorld;
    let web: Mesh;
    let second: Mesh;
    let port: number;

    const open = async (serviceAccount: string, hint: string | undefined): Promise<Mesh> => {
      const mesh = await createMesh({
        ...{ namespace: 'shop', serviceAccount, config: directory, log: false, env: {} },
        identity: { spiffe: { socket: world.socket, ...(hint === undefined ? {} : { hint }) } },
      });
      ends.push(() => mesh.close());
      await mesh.ready();
      return mesh;
    };
    const call = async (): Promise<string> => (await web.request(url)).body.text();
    /** The serial of the server's certificate is not in the answer, so rotations are heard of by notices. */
    const rotations = (id: string): string[] =>
      notices
        .filter(({ kind, details }) => kind === 'identity-rotated' && details?.['spiffeId'] === id)
        .map(({ details }) => String(details?.['serial']));

    beforeAll(async () => {
      world = await start();
      ends.push(
        () => world.stop(),
        noticeEvents.subscribe((notice) => void notices.push(notice)),
      );
      mkdirSync(join(directory, 'enmesh'));
      const { trustDomain, federated } = world;
      writeFileSync(join(directory, 'enmesh/mesh.yaml'), `trustDomain: ${trustDomain}\ntrustDomainAliases: [${federated}]\n`);
      writeFileSync(join(directory, 'policies.yaml'), peerAuthentication('STRICT'));
      second = await open('second', 'second');
      const server = second.createServer((request, response) => response.end(peerOf(request)));
      await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
      port = (server.address() as AddressInfo).port;
      writeFileSync(join(directory, 'registry.yaml'), serviceEntry({ name: 'second', port, subjectAltNames: [world.ids[1]] }));
      await second.reload();
      web = await open('web', undefined);
    }, 120_000);
    afterAll(async () => {
      for (const end of ends.splice(0).reverse()) await end();
    }, 60_000);

    it('gives each service its own identity, and they speak mutual TLS', async () => {
      expect(await call()).toBe(world.ids[0]);
      expect(rotations(world.ids[0])).toHaveLength(1);
    });

    it('accepts a peer of the federated trust domain, and refuses one that only says it is', async () => {
      const as = await world.foreignSvid();
      const answer = await send({ port, as, roots: [world.roots] }, 'GET', '/', []);
      expect(answer).toMatchObject({ status: 200, body: as.id.uri });
      const impostor = await createTestAuthority({ trustDomain: world.federated });
      const forged = await impostor.issue({ namespace: 'shop', serviceAccount: 'web' });
      expect((await send({ port, as: forged, roots: [world.roots] }, 'GET', '/', [])).status).toBe(0);
    });

    it('renews under load without one failed request, each identity on its own', async () => {
      let calls = 0;
      const failed: unknown[] = [];
      const deadline = Date.now() + 2 * world.renewalMs;
      const before = world.ids.map((id) => rotations(id).length);
      const isRenewed = (): boolean => world.ids.every((id, index) => rotations(id).length > (before[index] ?? 0));
      while (Date.now() < deadline && !isRenewed()) {
        await call().then(
          (body) => body === world.ids[0] || failed.push(body),
          (error: unknown) => failed.push(error),
        );
        calls += 1;
        await new Promise((done) => setTimeout(done, 50));
      }
      expect(failed).toEqual([]);
      expect(isRenewed()).toBe(true);
      for (const id of world.ids) expect(new Set(rotations(id)).size).toBe(rotations(id).length);
      console.log(`${name}: ${calls} requests over a renewal of both identities, 0 failed`);
    }, 240_000);

    it('lives through a restart of the agent without one failed request', async () => {
      const [id] = world.ids;
      const before = rotations(id).length;
      const restarted = world.restartAgent();
      for (let n = 0; n < 20; n++) {
        expect(await call()).toBe(id);
        await new Promise((done) => setTimeout(done, 50));
      }
      await restarted;
      await untilHolds(() => expect(rotations(id).length).toBeGreaterThan(before), world.renewalMs * 2 + 30_000);
      expect(notices.filter(({ kind }) => kind === 'identity-expiring')).toEqual([]);
    }, 240_000);

    it('refuses handshakes both ways while its entry is deleted, and goes on when it is there again', async () => {
      const lost = (): number => notices.filter(({ kind }) => kind === 'identity-lost').length;
      const before = lost();
      expect(await (await second.request(url)).body.text()).toBe(world.ids[1]);
      await world.removeSecond();
      await untilHolds(() => expect(lost()).toBeGreaterThan(before));
      const as = await world.foreignSvid();
      expect((await send({ port, as, roots: [world.roots] }, 'GET', '/', [])).status).toBe(0);
      // On a connection that is open, too.
      await expect(second.request(url)).rejects.toThrow(expect.objectContaining({ code: 'ENMESH_IDENTITY_NONE' }));
      await world.restoreSecond();
      await untilHolds(async () => expect(await call()).toBe(world.ids[0]), 60_000);
    }, 120_000);
  });
}
