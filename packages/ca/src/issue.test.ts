import { createPublicKey, generateKeyPairSync, sign, X509Certificate, type KeyObject } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { noticeEvents, type NoticeEvent } from '@enmesh/core/issuance';
import { createTestIssuer } from '@enmesh/core/testing';
import {
  createCsr,
  formatPem,
  issueCertificate,
  parsePem,
  readCertificateFacts,
  svidOptions,
  verifySvidChain,
} from '@enmesh/core/x509';
import { openAuthority, type Authority } from './authority.js';
import { createAuthenticator, type ShownCertificate } from './callers.js';
import { openDenyList } from './deny-list.js';
import { openIssuanceLog, type IssuanceLog } from './issuance-log.js';
import { createIssuer, type Issue, type SigningRequest } from './issue.js';
import { createJoinToken } from './join-tokens.js';
import { createLateRenewals } from './late-renewals.js';
import { openTokenCallers } from './jwt-callers.js';
import { initAuthority } from './make-files.js';
import { parseCaSettings } from './settings.js';

const trustDomain = 'cluster.local';
const uri = 'spiffe://cluster.local/ns/shop/sa/gateway';
const idp = await createTestIssuer();
const key = generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey;
const csr = await createCsr({ key, uriSan: uri });
const start = Date.UTC(2026, 0, 1);
const hour = 3_600_000;

let now = start;
const clock = (): number => now;
let parent = '';
let directory = '';
let authority: Authority;
let log: IssuanceLog;
let issue: Issue;
let notices: NoticeEvent[] = [];
let stop = (): void => {};

async function open(more: object = {}, issuanceLog?: IssuanceLog): Promise<void> {
  const jwt = [
    {
      issuer: idp.issuer,
      audiences: ['ca'],
      jwks: idp.jwksText,
      identities: [{ subject: 'vm', namespace: 'shop', serviceAccount: 'gateway' }],
    },
  ];
  const settings = parseCaSettings({ trustDomain, ttl: '1h', maxTtl: '2h', jwt, ...more }, directory);
  authority = await openAuthority({ directory, trustDomain, clock });
  log = await openIssuanceLog(directory);
  const tokens = await openTokenCallers(settings.jwt, clock);
  const authenticate = createAuthenticator({
    ...{ settings, authority, tokens, reviewer: undefined },
    lateRenewals: createLateRenewals({ directory, clock }),
  });
  const denyList = await openDenyList(directory);
  issue = createIssuer({ settings, authority, authenticate, denyList, log: issuanceLog ?? log, clock });
}

beforeEach(async () => {
  now = start;
  parent = mkdtempSync(join(tmpdir(), 'enmesh-issue-'));
  directory = join(parent, 'ca');
  await initAuthority({ directory, trustDomain, settings: { name: 'ca.yaml', text: '' }, clock });
  notices = [];
  stop = noticeEvents.subscribe((notice) => notices.push(notice));
  await open();
});
afterEach(async () => {
  stop();
  await log.close();
  rmSync(parent, { recursive: true });
});

const jwtFor = (claims: object = {}): Promise<string> => idp.sign({ sub: 'vm', aud: 'ca', ...claims }, { now });
const requestOf = (more: Partial<SigningRequest> = {}): SigningRequest => ({
  csr,
  validitySeconds: 0,
  impersonated: undefined,
  proof: { token: undefined, certificate: undefined },
  address: '127.0.0.1',
  ...more,
});
const withToken = async (more: Partial<SigningRequest> = {}): Promise<readonly string[]> =>
  issue(requestOf({ proof: { token: await jwtFor(), certificate: undefined }, ...more }));
const derOf = (pem: string | undefined): Buffer[] => parsePem(pem ?? '', 'CERTIFICATE');
const factsOf = (chain: readonly string[]) => readCertificateFacts(derOf(chain[0])[0] ?? Buffer.alloc(0));
const shown = (chain: readonly string[], problem?: string): ShownCertificate => {
  const [leaf = Buffer.alloc(0), ...intermediates] = derOf(chain.slice(0, -1).join(''));
  return { leaf, intermediates, problem, isSure: true };
};
const withCertificate = (certificate: ShownCertificate, token?: string) => issue(requestOf({ proof: { token, certificate } }));
const refused = (code: string, text = /./): Error =>
  expect.objectContaining({ code, message: expect.stringMatching(text) as string }) as Error;
const records = (): Record<string, string>[] =>
  readFileSync(join(directory, 'issued.jsonl'), 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, string>);

describe('an authority', () => {
  it('gives the proved identity, the key of the request and nothing else of it', async () => {
    const chain = await withToken({ csr: csrWith({ dns: 'istiod.istio-system.svc', uri: undefined }) });
    const facts = factsOf(chain);
    expect(facts).toMatchObject({
      uriSans: [uri],
      dnsSans: [],
      subject: '',
      isCa: false,
      keyUsage: new Set(['digitalSignature']),
    });
    expect(facts.otherSans.size).toBe(0);
    expect(new X509Certificate(chain[0] ?? '').publicKey.equals(createPublicKey(key))).toBe(true);
    const { leaf, intermediates } = shown(chain);
    expect(verifySvidChain({ leaf, intermediates, bundles: authority.current().bundles, now })).toMatchObject({ uri });
    expect(derOf(chain.at(-1))).toEqual(derOf(readFileSync(join(directory, 'root-cert.pem'), 'utf8')));
  });

  it('gives it for the life asked for, the default, and from two minutes ago', async () => {
    expect(factsOf(await withToken())).toMatchObject({ notBefore: now - 120_000, notAfter: now + hour });
    expect(factsOf(await withToken({ validitySeconds: -5 }))).toMatchObject({ notAfter: now + hour });
    expect(factsOf(await withToken({ validitySeconds: 1 }))).toMatchObject({ notAfter: now + 1000 });
    expect(factsOf(await withToken({ validitySeconds: 7200 }))).toMatchObject({ notAfter: now + 2 * hour });
    const tooLong = refused('ENMESH_CA_REQUEST', /requested TTL 2h0m1s is greater than the max allowed TTL 2h0m0s/);
    await expect(withToken({ validitySeconds: 7201 })).rejects.toThrow(tooLong);
    await expect(withToken({ validitySeconds: 2 ** 63 })).rejects.toThrow(refused('ENMESH_CA_REQUEST'));
  });

  it('gives nothing beyond the end of its own certificate, and nothing after it', async () => {
    const end = authority.current().signer.notAfter;
    now = end - 60_000;
    expect(factsOf(await withToken()).notAfter).toBe(end);
    now = end;
    await expect(withToken()).rejects.toThrow(refused('ENMESH_CA_EXPIRED'));
  });

  it('writes down what it gave before it gives it, without keys or tokens', async () => {
    const token = await jwtFor();
    const chain = await issue(requestOf({ proof: { token, certificate: undefined } }));
    expect(records()).toEqual([
      {
        time: new Date(now).toISOString(),
        serial: factsOf(chain).serial,
        identity: uri,
        method: 'jwt',
        proof: idp.issuer,
        notAfter: new Date(now + hour).toISOString(),
        publicKeySha256: expect.stringMatching(/^[0-9a-f]{64}$/) as string,
        address: '127.0.0.1',
      },
    ]);
    const said = JSON.stringify([notices, records()]);
    for (const secret of [token, token.split('.')[2] ?? '', 'BEGIN']) expect(said).not.toContain(secret);
  });

  it('gives nothing that it cannot write down', async () => {
    const broken: IssuanceLog = { append: () => Promise.reject(new Error('disk full')), close: async () => {} };
    await log.close();
    await open({}, broken);
    await expect(withToken()).rejects.toThrow('disk full');
  });

  it('renews by the certificate that is renewed, with its chain or alone', async () => {
    const chain = await withToken();
    const whole = shown(chain);
    expect(factsOf(await withCertificate(whole)).uriSans).toEqual([uri]);
    expect(factsOf(await withCertificate({ ...whole, intermediates: [] })).uriSans).toEqual([uri]);
    expect(records().at(-1)).toMatchObject({ method: 'certificate', proof: factsOf(chain).serial });
  });

  it('believes a good certificate whatever token comes with it, and lets the token decide when the certificate is not good', async () => {
    const good = shown(await withToken());
    await expect(withCertificate(good, 'nonsense')).resolves.toBeDefined();
    now += 2 * hour;
    const token = await jwtFor();
    await expect(withCertificate(good)).rejects.toThrow(refused('ENMESH_CA_UNPROVED', /expired/));
    await expect(withCertificate(good, token)).resolves.toBeDefined();
    expect(records().at(-1)).toMatchObject({ method: 'jwt' });
    await expect(withCertificate({ ...good, problem: 'CERT_HAS_EXPIRED' }, 'nonsense')).rejects.toThrow(
      refused('ENMESH_CA_UNPROVED', /CERT_HAS_EXPIRED.*the token: /),
    );
  });

  it('does not believe certificates of others, of itself, or without an identity', async () => {
    const { signer } = authority.current();
    const own = { issuer: signer.certificate, issuerKey: signer.key, notBefore: now - 1000, notAfter: now + hour };
    const leafWith = async (o: object): Promise<Buffer> =>
      derOf(await issueCertificate({ ...svidOptions(uri, key), ...own, ...o }))[0] ?? Buffer.alloc(0);
    const bad: Record<string, Buffer> = {
      noName: await leafWith({ uriSans: [], subject: {} }),
      serving: await leafWith({ uriSans: [], dnsSans: ['localhost'], extendedKeyUsage: ['1.3.6.1.5.5.7.3.1'], subject: {} }),
      foreign: await leafWith({ uriSans: ['spiffe://other/ns/shop/sa/gateway'] }),
      two: await leafWith({ uriSans: [uri, `${uri}2`] }),
      path: await leafWith({ uriSans: ['spiffe://cluster.local/gateway'] }),
      ca: derOf(signer.certificate)[0] ?? Buffer.alloc(0),
    };
    for (const [name, leaf] of Object.entries(bad))
      await expect(withCertificate({ leaf, intermediates: [], problem: undefined, isSure: true }), name).rejects.toThrow(
        refused('ENMESH_CA_UNPROVED'),
      );
    const other = join(parent, 'other');
    await initAuthority({ directory: other, trustDomain, settings: { name: 'ca.yaml', text: '' }, clock });
    const theirs = await openAuthority({ directory: other, trustDomain, clock });
    const signedByOther = await leafWith({ issuer: theirs.current().signer.certificate, issuerKey: theirs.current().signer.key });
    const intermediates = theirs.current().intermediates.flatMap(derOf);
    await expect(withCertificate({ leaf: signedByOther, intermediates, problem: undefined, isSure: true })).rejects.toThrow(
      refused('ENMESH_CA_UNPROVED'),
    );
  });

  describe('with renewExpiredWithin', () => {
    const within = async (renewExpiredWithin: string): Promise<void> => {
      await log.close();
      await open({ renewExpiredWithin });
    };
    const late = (chain: readonly string[], token?: string) => withCertificate(shown(chain, 'CERT_HAS_EXPIRED'), token);

    it('renews an expired certificate once within that time, and tells of it', async () => {
      await within('1d');
      const first = await withToken();
      const { serial } = factsOf(first);
      now += 20 * hour;
      const tries = await Promise.allSettled(Array.from({ length: 5 }, () => late(first)));
      const chains = tries.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
      expect(chains.map((chain) => factsOf(chain).uriSans)).toEqual([[uri]]);
      expect(records().at(-1)).toMatchObject({ method: 'expired-certificate', proof: serial });
      expect(notices.filter(({ kind, level }) => kind === 'certificate-issued' && level === 'warn')).toHaveLength(1);
      now += hour / 2;
      await expect(late(first)).rejects.toThrow(refused('ENMESH_CA_UNPROVED', /has expired, and it was renewed at 2026-/));
      now += hour;
      await expect(late(chains[0] ?? [])).resolves.toBeDefined();
    });

    it('refuses one whose end is longer ago, and all where it is not set', async () => {
      const first = await withToken();
      now += 2 * hour;
      await expect(late(first)).rejects.toThrow(refused('ENMESH_CA_UNPROVED', /CERT_HAS_EXPIRED/));
      await within('1h');
      await expect(late(first)).resolves.toBeDefined();
      const second = await withToken();
      now += 2 * hour + 1_000;
      await expect(late(second)).rejects.toThrow(refused('ENMESH_CA_UNPROVED', /renewExpiredWithin is shorter/));
    });

    it('refuses one that was renewed while it lived, for its owner has another', async () => {
      await within('1d');
      const first = await withToken();
      await withCertificate(shown(first));
      now += 2 * hour;
      await expect(late(first)).rejects.toThrow(refused('ENMESH_CA_UNPROVED', /it was renewed at/));
    });

    it('refuses one on the deny list, one that the log does not have, and one whose log cannot be read', async () => {
      await within('1d');
      const [first, second] = [await withToken(), await withToken()];
      now += 2 * hour;
      writeFileSync(join(directory, 'deny.list'), `serial ${factsOf(first).serial}\n`);
      await expect(late(first)).rejects.toThrow(refused('ENMESH_CA_DENIED'));
      const path = join(directory, 'issued.jsonl');
      const text = readFileSync(path, 'utf8');
      writeFileSync(path, text.replace(factsOf(second).serial, '00'));
      await expect(late(second)).rejects.toThrow(refused('ENMESH_CA_UNPROVED', /the issuance log does not have it/));
      writeFileSync(path, text.replaceAll(/"publicKeySha256":"../g, '"publicKeySha256":"zz'));
      await expect(late(second)).rejects.toThrow(refused('ENMESH_CA_UNPROVED', /another identity or key/));
      writeFileSync(path, text.replaceAll('"identity"', 'identity'));
      await expect(late(second)).rejects.toThrow(refused('ENMESH_CA_UNPROVED', /cannot be read/));
      rmSync(path);
      await expect(late(second)).rejects.toThrow(refused('ENMESH_CA_UNPROVED', /cannot be read \(ENOENT\)/));
      writeFileSync(path, text);
      await expect(late(second)).resolves.toBeDefined();
    });

    it('refuses one of a connection that is not for certain the one of the call, and one that a foreign root signed', async () => {
      await within('1d');
      const first = await withToken();
      const other = join(parent, 'other');
      await initAuthority({ directory: other, trustDomain, settings: { name: 'ca.yaml', text: '' }, clock });
      const { signer } = (await openAuthority({ directory: other, trustDomain, clock })).current();
      const foreign = await issueCertificate({
        ...svidOptions(uri, createPublicKey(key)),
        ...{ issuer: signer.certificate, issuerKey: signer.key, notBefore: now - hour, notAfter: now + hour },
      });
      now += 2 * hour;
      const expired = shown(first, 'CERT_HAS_EXPIRED');
      await expect(withCertificate({ ...expired, isSure: false })).rejects.toThrow(
        refused('ENMESH_CA_UNPROVED', /two connections/),
      );
      await expect(withCertificate({ ...expired, leaf: derOf(foreign)[0] ?? Buffer.alloc(0) })).rejects.toThrow(
        refused('ENMESH_CA_UNPROVED', /does not sign/),
      );
      await expect(late(first, 'nonsense')).rejects.toThrow(refused('ENMESH_CA_UNPROVED', /it has expired; the token/));
    });

    it('refuses one that lives while another of its chain has expired', async () => {
      await within('1d');
      await expect(late(await withToken())).rejects.toThrow(refused('ENMESH_CA_UNPROVED', /of its chain has expired/));
    });
  });

  it('takes a join token once, and not for a faulty request', async () => {
    const made = await createJoinToken({
      directory,
      trustDomain,
      namespace: 'shop',
      serviceAccount: 'gateway',
      lifeSeconds: 60,
      clock,
    });
    const proof = { token: made.token, certificate: undefined };
    await expect(issue(requestOf({ proof, csr: 'nonsense' }))).rejects.toThrow(refused('ENMESH_X509_CSR_INVALID'));
    await expect(issue(requestOf({ proof, validitySeconds: 10_000 }))).rejects.toThrow(refused('ENMESH_CA_REQUEST'));
    const tries = await Promise.allSettled(Array.from({ length: 10 }, () => issue(requestOf({ proof }))));
    expect(tries.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(records()).toMatchObject([{ method: 'join-token', proof: made.id }]);
    await expect(issue(requestOf({ proof }))).rejects.toThrow(refused('ENMESH_CA_UNPROVED', /was used/));
  });

  it('takes no join tokens where they are switched off', async () => {
    const made = await createJoinToken({
      directory,
      trustDomain,
      namespace: 'shop',
      serviceAccount: 'gateway',
      lifeSeconds: 60,
      clock,
    });
    await log.close();
    await open({ joinTokens: false });
    await expect(issue(requestOf({ proof: { token: made.token, certificate: undefined } }))).rejects.toThrow(
      refused('ENMESH_CA_UNPROVED'),
    );
  });

  it('refuses a request for another identity, and one to speak for another', async () => {
    const asOther = { csr: await createCsr({ key, uriSan: 'spiffe://cluster.local/ns/shop/sa/admin' }) };
    await expect(withToken(asOther)).rejects.toThrow(refused('ENMESH_CA_REQUEST', /another identity/));
    await expect(withToken({ csr: csrWith({ uri: 'spiffe://cluster.local/ns/shop/sa/admin', dns: undefined }) })).rejects.toThrow(
      refused('ENMESH_CA_REQUEST'),
    );
    await expect(withToken({ impersonated: 'spiffe://cluster.local/ns/shop/sa/admin' })).rejects.toThrow(
      refused('ENMESH_CA_UNPROVED'),
    );
    await expect(withToken({ impersonated: uri })).resolves.toBeDefined();
  });

  it.each([
    ['RSA of 1024 bits', generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey],
    ['secp256k1', generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).privateKey],
  ])('refuses a weak key: %s', async (_, weak) => {
    await expect(withToken({ csr: csrWith({ key: weak, uri: undefined, dns: undefined }) })).rejects.toThrow(
      refused('ENMESH_X509_CSR_INVALID'),
    );
  });

  it('gives nothing to whom the deny list names, from the moment that it does', async () => {
    const chain = await withToken();
    writeFileSync(join(directory, 'deny.list'), `serial ${factsOf(chain).serial}\n`);
    await expect(withCertificate(shown(chain))).rejects.toThrow(refused('ENMESH_CA_DENIED', /certificate/));
    await expect(withToken()).resolves.toBeDefined();
    writeFileSync(join(directory, 'deny.list'), `identity ${uri} # since today\n`);
    await expect(withToken()).rejects.toThrow(refused('ENMESH_CA_DENIED', /names spiffe/));
    await expect(withCertificate(shown(chain))).rejects.toThrow(refused('ENMESH_CA_DENIED'));
  });

  it('stops who asks too often, by address before anything is looked at, and by caller', async () => {
    await log.close();
    await open({ limits: { perCallerPerMinute: 10, perAddressPerMinute: 40 } });
    const codes: unknown[] = [];
    for (let call = 0; call < 30; call++)
      await withToken().then(
        () => codes.push('good'),
        (error: { code: string; message: string }) => codes.push(`${error.code} ${error.message}`),
      );
    const count = (text: string): number => codes.filter((code) => String(code).includes(text)).length;
    expect([count('good'), count('too many requests of spiffe'), count('from its address')]).toEqual([5, 15, 10]);
    expect(notices.filter(({ code }) => code === 'ENMESH_CA_LIMIT')).toHaveLength(1);
  });

  it('works on no more requests at one time than it may', async () => {
    await log.close();
    await open({ limits: { concurrent: 2 } });
    const tries = await Promise.allSettled(Array.from({ length: 6 }, () => withToken()));
    const failed = tries.filter((one) => one.status === 'rejected').map((one) => (one.reason as { code: string }).code);
    expect(failed).toEqual(Array.from({ length: 4 }, () => 'ENMESH_CA_LIMIT'));
    await expect(withToken()).resolves.toBeDefined();
  });
});

interface Wishes {
  readonly key?: KeyObject;
  readonly uri: string | undefined;
  readonly dns: string | undefined;
}

const der = (tag: number, ...parts: readonly Uint8Array[]): Buffer => {
  const content = Buffer.concat(parts);
  const { length } = content;
  const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255];
  return Buffer.concat([Buffer.of(tag, ...size), content]);
};
const oid = (hex: string): Buffer => der(6, Buffer.from(hex, 'hex'));

/** A request with names that a good client never asks for: a CN, DNS names, any URI. Signed with ECDSA or RSA and SHA-256. */
function csrWith({ key: own = key, uri: uriSan, dns }: Wishes): string {
  const sequence = (...parts: readonly Uint8Array[]): Buffer => der(0x30, ...parts);
  const name = sequence(der(0x31, sequence(oid('550403'), der(0x0c, Buffer.from('admin')))));
  const names = [uriSan && der(0x86, Buffer.from(uriSan)), dns && der(0x82, Buffer.from(dns))].filter(
    (part) => typeof part === 'object',
  );
  const extension = sequence(oid('551d11'), der(4, sequence(...names)));
  const attribute = sequence(oid('2a864886f70d01090e'), der(0x31, sequence(extension)));
  const spki = createPublicKey(own).export({ type: 'spki', format: 'der' });
  const body = sequence(der(2, Buffer.of(0)), name, spki, der(0xa0, ...(names.length === 0 ? [] : [attribute])));
  const isRsa = own.asymmetricKeyType === 'rsa';
  const algorithm = isRsa ? sequence(oid('2a864886f70d01010b'), der(5)) : sequence(oid('2a8648ce3d040302'));
  const signature = der(3, Buffer.of(0), sign('sha256', body, own));
  return formatPem('CERTIFICATE REQUEST', sequence(body, algorithm, signature));
}
