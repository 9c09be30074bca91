import { createPrivateKey, generateKeyPairSync, randomUUID, sign, type KeyObject } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { noticeEvents, type NoticeEvent } from '@enmesh/core';
import { createCsr } from '@enmesh/core/x509';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startRealServer } from '../support/real-server.js';
import { peerAuthentication } from '../support/documents.js';
import { callService, createParty, entryYaml, openEcho, type Party } from './support/party.js';

/** What the start script says; `rootCert` and `privateKey` are files. */
interface StepCaReady {
  readonly address: string;
  readonly rootCert: string;
  readonly token: { readonly issuer: string; readonly audience: string; readonly kid: string; readonly privateKey: string };
}

/** A certificate in the files of one workload, which step's client would renew. */
interface Held {
  readonly folder: string;
  readonly uri: string;
  key: KeyObject;
  chain: string;
}

const server = await startRealServer<StepCaReady>('step-ca');
const lifeSeconds = 8;

describe.skipIf(server === undefined)('certificates of a real step-ca in files', () => {
  const ca = server?.ready as StepCaReady;
  let directory = '';
  const notices: NoticeEvent[] = [];
  const parties: Party[] = [];
  const held: Record<'gateway' | 'product', Held> = {} as never;
  let stop = (): void => {};
  let gateway: Party;

  /** A token that allows one certificate with this name, once. */
  const token = (uri: string): string => {
    const now = Math.floor(Date.now() / 1000);
    const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
    const claims = {
      iss: ca.token.issuer,
      aud: ca.token.audience,
      sub: uri,
      sans: [uri],
      jti: randomUUID(),
      iat: now,
      nbf: now - 5,
      exp: now + 300,
    };
    const input = `${part({ alg: 'ES256', kid: ca.token.kid, typ: 'JWT' })}.${part(claims)}`;
    const key = createPrivateKey(readFileSync(ca.token.privateKey));
    return `${input}.${sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;
  };
  const ask = (path: string, body: object, own?: Held): Promise<string> =>
    new Promise((done, fail) => {
      const proof = own === undefined ? {} : { cert: own.chain, key: own.key.export({ type: 'pkcs8', format: 'pem' }) };
      const call = request(`${ca.address}${path}`, { method: 'POST', ca: readFileSync(ca.rootCert), ...proof }, (response) => {
        let text = '';
        response.on('data', (chunk: Buffer) => (text += chunk.toString()));
        response.on('end', () => {
          if (response.statusCode !== 201) return fail(new Error(`${path}: ${response.statusCode} ${text}`));
          done((JSON.parse(text) as { certChain: string[] }).certChain.join(''));
        });
      });
      call.on('error', fail);
      call.end(JSON.stringify(body));
    });
  /** A new key and certificate, by a token. Written in place, one file after the other, as a script of an operator would. */
  const enroll = async (one: Held): Promise<void> => {
    one.key = generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey;
    const csr = await createCsr({ key: one.key, uriSan: one.uri });
    one.chain = await ask('/1.0/sign', { csr, ott: token(one.uri), notAfter: `${lifeSeconds}s` });
    writeFileSync(join(one.folder, 'tls.key'), one.key.export({ type: 'pkcs8', format: 'pem' }));
    writeFileSync(join(one.folder, 'tls.crt'), one.chain);
  };
  /** The same key and a new certificate, by the certificate that is to be renewed. */
  const renew = async (one: Held): Promise<void> => {
    one.chain = await ask('/1.0/renew', {}, one);
    writeFileSync(join(one.folder, 'tls.crt'), one.chain);
  };
  const start = async (serviceAccount: 'gateway' | 'product', documents: string): Promise<Party> => {
    const { folder } = held[serviceAccount];
    const files = { certificate: join(folder, 'tls.crt'), privateKey: join(folder, 'tls.key'), roots: ca.rootCert };
    const party = await createParty({ serviceAccount, identity: { files }, documents });
    parties.push(party);
    return party;
  };

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'enmesh-step-ca-'));
    stop = noticeEvents.subscribe((notice) => notices.push(notice));
    for (const name of ['gateway', 'product'] as const) {
      const folder = join(directory, name);
      mkdirSync(folder);
      held[name] = { folder, uri: `spiffe://cluster.local/ns/shop/sa/${name}` } as Held;
      await enroll(held[name]);
    }
    const port = await openEcho(await start('product', peerAuthentication('STRICT')));
    gateway = await start('gateway', `${peerAuthentication('STRICT')}${entryYaml('product', port)}`);
  });
  afterAll(async () => {
    stop();
    for (const party of parties) await party.close();
    await server?.stop();
    if (directory !== '') rmSync(directory, { recursive: true, force: true });
  });

  it('are renewed underneath two services that talk, and no request fails', async () => {
    let isOver = false;
    let renewals = 0;
    const renewing = (async (): Promise<void> => {
      for (let turn = 1; !isOver; turn += 1) {
        await new Promise((wake) => setTimeout(wake, 1000));
        // Every third time with a new key, so that for a moment key and chain in the files do not belong together.
        for (const one of Object.values(held)) await (turn % 3 === 0 ? enroll(one) : renew(one));
        renewals += 1;
      }
    })();
    const answers = new Map<string, number>();
    const end = Date.now() + 15_000;
    const talk = async (): Promise<void> => {
      while (Date.now() < end) {
        const answer = await callService(gateway, 'product');
        answers.set(answer, (answers.get(answer) ?? 0) + 1);
        await new Promise((wake) => setTimeout(wake, 20));
      }
    };
    await Promise.all([talk(), talk(), talk()]);
    isOver = true;
    await renewing;
    const rotations = (name: string): number =>
      notices.filter(({ kind, message }) => kind === 'identity-rotated' && message.includes(`/sa/${name} `)).length;
    const good = answers.get(`200 ${held.gateway.uri}`) ?? 0;
    const counts = `${rotations('gateway')} + ${rotations('product')} rotations`;
    console.log(
      `step-ca: ${good} requests good, ${answers.size - 1} kinds of failure, ${renewals} renewals each, ${counts} in 15 s`,
    );
    expect([...answers.keys()]).toEqual([`200 ${held.gateway.uri}`]);
    expect(good).toBeGreaterThan(200);
    for (const name of ['gateway', 'product']) expect(rotations(name)).toBeGreaterThan(8);
    expect(notices.filter(({ kind }) => kind === 'identity-renewal-failed')).toEqual([]);
  });

  it('that nobody renews any more are used to their end and not beyond', async () => {
    expect(await callService(gateway, 'product')).toBe(`200 ${held.gateway.uri}`);
    await expect.poll(() => callService(gateway, 'product'), { interval: 500 }).not.toMatch(/^200/);
    expect(await callService(gateway, 'product')).toBe('ENMESH_IDENTITY_NONE');
    for (const one of Object.values(held)) await enroll(one);
    await expect.poll(() => callService(gateway, 'product')).toBe(`200 ${held.gateway.uri}`);
  });
});
