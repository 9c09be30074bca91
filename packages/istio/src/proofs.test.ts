import { randomBytes } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { formatPem } from '@enmesh/core/x509';
import { status } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { CaRefusal, createSigner, good, newKey } from '../../../test/support/istio-ca.js';
import {
  createLeaf,
  failure,
  hour,
  open,
  openOnClock,
  start,
  told,
  useIstioStage,
  writeProvided,
} from '../../../test/support/istio-stage.js';
import { until } from '../../../test/support/waiting.js';

useIstioStage();

const joinToken = (letter: string): string => `enmesh-join.${letter.repeat(43)}`;

describe('proving who asks', () => {
  it.each([
    ['absent', undefined, 'it is not there'],
    ['empty', ' \n', 'it is empty'],
    ['no token', 'two words', 'what it holds is none'],
    ['too big', 'x'.repeat(100_000), 'it is bigger than'],
  ])('says so when the token is %s and nothing else is there', async (_what, content, reason) => {
    const ca = await start();
    if (content === undefined) rmSync(ca.tokenFile);
    else writeFileSync(ca.tokenFile, content);
    const notice = await failure(open(ca));
    expect(notice.code).toBe('ENMESH_ISSUANCE_CREDENTIAL_MISSING');
    expect(notice.message).toContain(`no token in ${ca.tokenFile}: ${reason}`);
    expect(notice.message).not.toContain('two words');
    expect(ca.calls).toHaveLength(0);
  });

  it('goes on by client certificate when the token is gone, and says so', async () => {
    const ca = await start({ clientCertificate: 'required' });
    writeProvided(ca, await createLeaf(ca));
    rmSync(ca.tokenFile);
    const { identity, clock } = openOnClock(ca, { PROV_CERT: ca.directory });
    await identity.ready();
    expect(ca.calls[0]?.authorization).toBeUndefined();
    const { serial } = identity.svid.current();
    clock.advance(0.5 * hour + 5_000);
    // From then on the SVID itself is the proof.
    await until(() => ca.calls.some(({ clientSerial }) => clientSerial === serial));
    expect(told('identity-doubtful')[0]?.message).toMatch(
      /no token in .*: it is not there; going on with the client certificate/,
    );
  });

  it('never shows a certificate beside a token: the certificate would win', async () => {
    const ca = await start();
    writeProvided(ca, await createLeaf(ca));
    const { identity, clock } = openOnClock(ca, { PROV_CERT: ca.directory });
    await identity.ready();
    clock.advance(0.5 * hour + 5_000);
    await until(() => ca.calls.length >= 2);
    for (const { authorization, clientSerial } of ca.calls)
      expect([authorization, clientSerial]).toEqual(['Bearer first.token.x', undefined]);
  });

  it('is not locked out by an expired client certificate: the token does', async () => {
    const ca = await start();
    writeProvided(ca, await createLeaf(ca, -2 * hour, -hour));
    const identity = open(ca, { provCert: ca.directory });
    await identity.ready();
    expect(told('identity-doubtful')[0]?.message).toMatch(/no client certificate in .*: it expired at/);
  });

  it('is not locked out by a foreign client certificate: without it, by the token that comes back', async () => {
    const ca = await start({ clientCertificate: 'required' });
    writeProvided(ca, await createLeaf(await createSigner()));
    rmSync(ca.tokenFile);
    const notice = await failure(open(ca, { provCert: ca.directory }));
    expect(notice.code).toBe('ENMESH_ISSUANCE_CA_UNREACHABLE');
    const other = await start();
    writeProvided(other, await createLeaf(await createSigner()));
    const identity = open(other, { provCert: other.directory });
    await identity.ready();
    expect(other.calls[0]).toMatchObject({ authorization: 'Bearer first.token.x', clientSerial: undefined });
  });

  it('shows the SVID it holds where the token is not believed any more', async () => {
    const ca = await start({ clientCertificate: 'optional' });
    const { identity, clock } = openOnClock(ca);
    await identity.ready();
    ca.behave((call, self) => {
      if (call.authorization !== undefined) throw new CaRefusal(status.UNAUTHENTICATED, 'request authenticate failure');
      return good(call, self);
    });
    writeFileSync(ca.tokenFile, 'worn.out.token');
    const { serial } = identity.svid.current();
    clock.advance(0.5 * hour + 5_000);
    await until(() => identity.svid.current().serial !== serial);
    expect(ca.calls.map(({ clientSerial }) => clientSerial)).toEqual([undefined, undefined, serial]);
    expect(told('identity-doubtful')[0]?.message).toMatch(/did not believe the token of .*; going on with the present SVID/);
  });

  it('never shows a join token again once it brought a certificate: the SVID renews itself, and nobody is told of a doubt', async () => {
    const ca = await start({ clientCertificate: 'optional' });
    writeFileSync(ca.tokenFile, joinToken('a'));
    const { identity, clock } = openOnClock(ca);
    await identity.ready();
    const serials = [identity.svid.current().serial];
    for (const later of [0.5 * hour, 0.25 * hour]) {
      clock.advance(later + 5_000);
      await until(() => identity.svid.current().serial !== serials.at(-1));
      serials.push(identity.svid.current().serial);
    }
    expect(ca.calls.map(({ authorization, clientSerial }) => [authorization, clientSerial])).toEqual([
      [`Bearer ${joinToken('a')}`, undefined],
      [undefined, serials[0]],
      [undefined, serials[1]],
    ]);
    expect(told('identity-doubtful')).toEqual([]);
  });

  it('asks for a new join token when the certificate is gone, shows none that was used, and takes the new one', async () => {
    const ca = await start({ clientCertificate: 'optional' });
    writeFileSync(ca.tokenFile, joinToken('a'));
    const { identity, clock } = openOnClock(ca);
    await identity.ready();
    ca.behave(() => {
      throw new CaRefusal(status.UNAVAILABLE, 'away');
    });
    clock.advance(2 * hour);
    ca.behave((call, self) => {
      if (call.authorization === undefined) throw new CaRefusal(status.UNAUTHENTICATED, 'request authenticate failure');
      return good(call, self);
    });
    await until(() => {
      clock.advance(1_000);
      return told('identity-renewal-failed').some(({ code }) => code === 'ENMESH_ISSUANCE_CREDENTIAL_MISSING');
    });
    expect(told('identity-renewal-failed').at(-1)?.message).toMatch(
      /does not take the SVID that ended at .* \(the join token of .* was used.*put a new one there\)/,
    );
    writeFileSync(ca.tokenFile, joinToken('b'));
    await until(() => {
      clock.advance(1_000);
      return ca.calls.some(({ authorization }) => authorization === `Bearer ${joinToken('b')}`);
    });
    expect(ca.calls.at(-1)).toMatchObject({ clientSerial: undefined });
    expect(ca.calls.filter(({ authorization }) => authorization?.includes(joinToken('a')))).toHaveLength(1);
  });

  it('shows an SVID that has ended where nothing else is left, as an authority may renew it', async () => {
    const ca = await start({ clientCertificate: 'optional' });
    writeFileSync(ca.tokenFile, joinToken('a'));
    const { identity, clock } = openOnClock(ca);
    await identity.ready();
    const { serial } = identity.svid.current();
    ca.behave(() => {
      throw new CaRefusal(status.UNAVAILABLE, 'away');
    });
    clock.advance(2 * hour);
    expect(() => identity.svid.current()).toThrow(expect.objectContaining({ code: 'ENMESH_IDENTITY_NONE' }));
    await until(() => {
      clock.advance(1_000);
      return ca.calls.at(-1)?.clientSerial === serial;
    });
    expect(ca.calls.at(-1)?.authorization).toBeUndefined();
  });

  it('falls back on a new join token where the SVID that it holds is not believed', async () => {
    const ca = await start({ clientCertificate: 'optional' });
    writeFileSync(ca.tokenFile, joinToken('a'));
    const { identity, clock } = openOnClock(ca);
    await identity.ready();
    ca.behave((call, self) => {
      if (call.authorization === undefined) throw new CaRefusal(status.UNAUTHENTICATED, 'request authenticate failure');
      return good(call, self);
    });
    writeFileSync(ca.tokenFile, joinToken('b'));
    const { serial } = identity.svid.current();
    clock.advance(0.5 * hour + 5_000);
    await until(() => identity.svid.current().serial !== serial);
    expect(ca.calls.map(({ clientSerial }) => clientSerial)).toEqual([undefined, serial, undefined]);
  });

  it('says which proof OpenSSL does not take', async () => {
    const ca = await start();
    const { chain, key } = await createLeaf(ca);
    writeProvided(ca, { chain: chain + formatPem('CERTIFICATE', randomBytes(200)), key });
    rmSync(ca.tokenFile);
    const notice = await failure(open(ca, { provCert: ca.directory }));
    expect(notice.code).toBe('ENMESH_ISSUANCE_CA_UNREACHABLE');
    expect(notice.message).toMatch(/cannot be prepared with the client certificate in .* \(ERR_/);
  });

  it.each([
    ['cert-chain.pem', '', 'cert-chain.pem holds none'],
    ['cert-chain.pem', undefined, 'it is not there'],
    ['key.pem', undefined, 'it is not there'],
    ['key.pem', 'no key', 'Expected one private key'],
    ['key.pem', newKey().export({ type: 'pkcs8', format: 'pem' }) as string, 'key.pem is not its key'],
  ])('names what is wrong with a client certificate: %s', async (file, content, reason) => {
    const ca = await start();
    writeProvided(ca, await createLeaf(ca));
    if (content === undefined) rmSync(join(ca.directory, file));
    else writeFileSync(join(ca.directory, file), content);
    rmSync(ca.tokenFile);
    const notice = await failure(open(ca, { provCert: ca.directory }));
    expect(notice.code).toBe('ENMESH_ISSUANCE_CREDENTIAL_MISSING');
    expect(notice.message).toContain(`no client certificate in ${ca.directory}: ${reason}`);
  });
});
