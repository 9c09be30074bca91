import { rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { status } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import type { IstioIdentityWorld } from './identity.js';
import { CaRefusal, good, signFor } from '../../../test/support/istio-ca.js';
import { atEnd, failure, open, soon, start, told, useIstioStage } from '../../../test/support/istio-stage.js';
import { until } from '../../../test/support/waiting.js';

useIstioStage();

describe('a CA that fails or refuses', () => {
  it.each([
    status.CANCELLED,
    status.DEADLINE_EXCEEDED,
    status.RESOURCE_EXHAUSTED,
    status.ABORTED,
    status.INTERNAL,
    status.UNAVAILABLE,
  ])('is asked five times in one attempt when it answers with code %i, as the agent does', async (code) => {
    const ca = await start();
    let left = 4;
    ca.behave((call, self) => {
      if (left-- > 0) throw new CaRefusal(code, 'not now');
      return good(call, self);
    });
    await open(ca).ready();
    expect(ca.calls).toHaveLength(5);
    expect(told('identity-renewal-failed')).toHaveLength(0);
  });

  it('waits 100 ms, doubled each time and spread by a tenth, between tries', async () => {
    const ca = await start();
    ca.behave(() => {
      throw new CaRefusal(status.UNAVAILABLE, 'not now');
    });
    const pauses: number[] = [];
    const timer: IstioIdentityWorld['timer'] = (run, ms) => {
      pauses.push(ms);
      const handle = setTimeout(run, ms < 5_000 ? 0 : ms);
      return () => clearTimeout(handle);
    };
    await failure(open(ca, {}, { random: () => 0.75, timer }));
    const short = pauses.filter((ms) => ms < 1_000 && ms !== 875);
    expect(short.slice(0, 4).map(Math.round)).toEqual([105, 210, 420, 840]);
    expect(ca.calls).toHaveLength(5);
  });

  it('waits less where the SVID that is held ends in seconds: it would end within the pause', async () => {
    const ca = await start();
    const pauses: number[] = [];
    const timer: IstioIdentityWorld['timer'] = (run, ms) => {
      pauses.push(ms);
      const handle = setTimeout(run, ms);
      return () => clearTimeout(handle);
    };
    // Less than half of it is left, for as long as the test takes.
    let now = Date.now();
    const settings = { ttlSeconds: 2, clock: () => now };
    const opened = open(ca, settings, { random: () => 0.5, timer });
    await opened.ready();
    // By the certificate, not by the clock of the test: the CA gives it when it comes to that.
    now = opened.svid.current().notAfter - 400;
    ca.behave(() => {
      throw new CaRefusal(status.UNAVAILABLE, 'not now');
    });
    await until(() => ca.calls.length >= 6);
    // Those of the rotation are 250 ms at least.
    expect(pauses.filter((ms) => ms < 240).length).toBeGreaterThanOrEqual(4);
  });

  it.each([
    [status.UNAUTHENTICATED, 'ENMESH_ISSUANCE_CA_REFUSED', /did not believe the token of .*istio-token.*audience \(istio-ca\)/],
    [status.PERMISSION_DENIED, 'ENMESH_ISSUANCE_CA_REFUSED', /did not believe the token/],
    [status.INVALID_ARGUMENT, 'ENMESH_ISSUANCE_CA_REFUSED', /did not accept the request/],
    [status.UNIMPLEMENTED, 'ENMESH_ISSUANCE_CA_REFUSED', /no certificate service .* port 15012/],
    [status.UNKNOWN, 'ENMESH_ISSUANCE_CA_REFUSED', /failed \(UNKNOWN/],
  ])('says what to look at when it answers with code %i, and asks once', async (code, expected, message) => {
    const ca = await start();
    ca.behave(() => {
      throw new CaRefusal(code, `secret ${'first.token.x'.repeat(10)}`);
    });
    const notice = await failure(open(ca));
    expect(notice).toMatchObject({ code: expected, message: expect.stringMatching(message) as string });
    expect(notice.message).not.toContain('first.token.x');
    expect(ca.calls).toHaveLength(1);
  });

  it('names the port where there is no CA service', async () => {
    const notice = await failure(open(await start({ withoutService: true })));
    expect(notice).toMatchObject({
      code: 'ENMESH_ISSUANCE_CA_REFUSED',
      message: expect.stringContaining('UNIMPLEMENTED') as string,
    });
  });

  it('takes the life that the CA gives where the one asked for is above its maximum, tells it once and keeps to it', async () => {
    const ca = await start();
    ca.behave(({ request }, self) => {
      if (request.validity_duration > 7200)
        throw new CaRefusal(status.INVALID_ARGUMENT, 'requested TTL 24h0m0s is greater than the max allowed TTL 2h0m0s');
      return signFor(self, request.csr, { life: 1_000 }).then((leaf) => [leaf, self.rootPem]);
    });
    const identity = open(ca);
    await identity.ready();
    await until(() => ca.calls.length >= 4);
    expect(ca.calls.map(({ request }) => request.validity_duration).slice(0, 4)).toEqual([86_400, 0, 0, 0]);
    expect(told('identity-doubtful')).toHaveLength(1);
  });

  it('is not believed under another name', async () => {
    const ca = await start({ serverNames: ['elsewhere.example'] });
    const notice = await failure(open(ca));
    expect(notice).toMatchObject({
      code: 'ENMESH_ISSUANCE_CA_UNREACHABLE',
      message: expect.stringMatching(/not one of istiod\.istio-system\.svc; .*ISTIOD_SAN/) as string,
    });
    expect(ca.calls).toHaveLength(0);
    await open(ca, { serverName: 'elsewhere.example' }).ready();
  });

  it('is not believed under another root', async () => {
    const ca = await start();
    const notice = await failure(open({ ...ca, rootFile: (await start()).rootFile }));
    expect(notice).toMatchObject({
      code: 'ENMESH_ISSUANCE_CA_UNREACHABLE',
      message: expect.stringContaining('CA_ROOT_CA') as string,
    });
    expect(ca.calls).toHaveLength(0);
  });

  it('is not believed under the roots of the system when it has a private one', async () => {
    const notice = await failure(open({ ...(await start()), rootFile: 'SYSTEM' }));
    expect(notice.message).toContain('not signed by the roots of the system');
  });

  it('is found by the name of the machine, which is no name in its certificate', async () => {
    const ca = await start();
    await open({ ...ca, address: `localhost:${ca.port}` }).ready();
  });

  it.each([
    ['is not there', undefined],
    ['holds nothing', ''],
    ['holds no certificate', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'],
  ])('is not asked when the file of its root %s', async (_what, content) => {
    const ca = await start();
    if (content === undefined) rmSync(ca.rootFile);
    else writeFileSync(ca.rootFile, content);
    const notice = await failure(open(ca));
    expect(notice).toMatchObject({
      code: 'ENMESH_ISSUANCE_CA_UNREACHABLE',
      message: expect.stringContaining(ca.rootFile) as string,
    });
    expect(ca.calls).toHaveLength(0);
  });

  it('that accepts and says nothing is given up after its time', async () => {
    const sockets: Socket[] = [];
    const silent: Server = createServer((socket) => void sockets.push(socket.on('error', () => undefined)));
    await new Promise<void>((done) => silent.listen(0, '127.0.0.1', done));
    atEnd(() => {
      for (const socket of sockets) socket.destroy();
      silent.close();
    });
    const ca = await start();
    const address = `127.0.0.1:${(silent.address() as AddressInfo).port}`;
    const notice = await failure(open({ ...ca, address }, {}, { ...soon, callTimeoutMs: 60 }));
    expect(notice).toMatchObject({
      code: 'ENMESH_ISSUANCE_CA_UNREACHABLE',
      message: expect.stringContaining('DEADLINE_EXCEEDED') as string,
    });
  });

  it('that nobody can reach is told, and asked again by the rotation', async () => {
    const ca = await start();
    const { port } = ca;
    await ca.close();
    const notice = await failure(open({ ...(await start()), address: `127.0.0.1:${port}` }));
    expect(notice).toMatchObject({
      code: 'ENMESH_ISSUANCE_CA_UNREACHABLE',
      message: expect.stringMatching(/ECONNREFUSED.*trying again/) as string,
    });
  });
});
