import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import type { RequestIdentity } from '../identity/caller.js';
import type { X509Svid } from '../identity/svid.js';
import { peerKeyOf, readPeerIdentity } from '../tls/peer.js';
import { issueCertificate, rootOptions, svidOptions } from '../x509/certificate.js';
import { parsePem } from '../x509/pem.js';
import { parseX509Svid } from '../x509/svid-verify.js';
import { createHopMinter, type HopCall } from './hop-mint.js';
import { rememberedTokens } from './hop-memory.js';
import { actClaim, hopAlgorithmOf, parseActClaim } from './hop-token.js';
import { verifyHopToken, type HopJudge } from './hop-verify.js';
import { compilePropagation } from './plan.js';

const now = 1_800_000_000_500;
const caller = 'spiffe://cluster.local/ns/shop/sa/gateway';
const own = 'spiffe://cluster.local/ns/shop/sa/product';

const user = (fields: Partial<RequestIdentity> = {}): RequestIdentity => ({
  principal: 'https://idp.test/jane',
  issuer: 'https://idp.test',
  subject: 'jane',
  audiences: ['door'],
  presenter: 'app',
  claims: { iss: 'https://idp.test', sub: 'jane', scope: ['a'], aud: 'door', azp: 'app', email: 'j@x' },
  payload: '',
  expiresAt: now + 300_000,
  ...fields,
});

let rootKey: KeyObject;
let root: string;
beforeAll(async () => {
  rootKey = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
  const validity = { notBefore: now - 60_000, notAfter: now + 3_600_000 };
  root = await issueCertificate({ ...rootOptions('cluster.local', rootKey), issuerKey: rootKey, ...validity });
});

async function issue(privateKey: KeyObject, uri = caller): Promise<X509Svid> {
  const options = { ...svidOptions(uri, privateKey), issuer: root, issuerKey: rootKey };
  const chain = await issueCertificate({ ...options, notBefore: now - 60_000, notAfter: now + 3_600_000 });
  return parseX509Svid({ chain, privateKey });
}

const p256 = (): KeyObject => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;

const plan = compilePropagation(
  [
    {
      meta: {
        ...{ kind: 'TokenPropagation', namespace: 'shop', name: 'p', creationTimestamp: 0, labels: {}, annotations: {} },
        source: { file: 'p.yaml', line: 1, column: 1 },
      },
      spec: { inbound: [{ principals: ['cluster.local/ns/shop/sa/gateway'], issuers: ['https://idp.test'] }] },
    },
  ],
  { namespace: 'shop', labels: {} },
  { rootNamespace: 'istio-system', trustDomain: 'cluster.local', trustDomainAliases: [] },
);

function judge(svid: X509Svid, at = now): HopJudge {
  const [leaf] = parsePem(svid.chain, 'CERTIFICATE');
  const peer = readPeerIdentity(leaf!);
  return { peer, key: peerKeyOf(peer)!, ownUri: own, plan, now: at };
}

const none: readonly string[] = [];
const audience = [own];
const call = (svid: X509Svid, fields: Partial<HopCall> = {}): HopCall => ({
  ...{ svid, audience, user: jane, actors: none, claims },
  ...fields,
});
const jane = user();
const claims = ['scope', 'aud', 'azp', 'absent'];

describe('hop tokens between two workloads', () => {
  it.each<[string, () => KeyObject]>([
    ['P-256', p256],
    ['P-384', () => generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey],
    ['P-521', () => generateKeyPairSync('ec', { namedCurve: 'P-521' }).privateKey],
    ['RSA', () => generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey],
    ['Ed25519', () => generateKeyPairSync('ed25519').privateKey],
  ])('carry the user with an SVID key of %s', async (_kind, key) => {
    const svid = await issue(key());
    const token = createHopMinter({ clock: () => now }).tokenFor(call(svid));
    const verdict = verifyHopToken(token, judge(svid));
    expect(verdict).toMatchObject({ ok: true, actors: [caller] });
    expect(verdict.ok && verdict.user).toMatchObject({
      principal: 'https://idp.test/jane',
      audiences: ['door'],
      presenter: 'app',
      claims: { iss: 'https://idp.test', sub: 'jane', scope: ['a'], aud: 'door', azp: 'app' },
      expiresAt: now + 299_500,
    });
    expect(verdict.ok && verdict.user.claims).not.toHaveProperty('email');
  });

  it('carry neither audiences nor presenter unless they are listed', async () => {
    const svid = await issue(p256());
    const token = createHopMinter({ clock: () => now }).tokenFor(call(svid, { claims: [] }));
    expect(verifyHopToken(token, judge(svid))).toMatchObject({ ok: true, user: { audiences: [], presenter: undefined } });
  });

  it('live for 60 s, and never past the token of the user', async () => {
    const svid = await issue(p256());
    const payload = (token: string): { iat: number; exp: number } =>
      JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as { iat: number; exp: number };
    const minter = createHopMinter({ clock: () => now });
    const { iat, exp } = payload(minter.tokenFor(call(svid)));
    expect(exp - iat).toBe(60);
    const short = payload(minter.tokenFor(call(svid, { user: user({ expiresAt: now + 7_900 }) })));
    expect(short.exp - short.iat).toBe(8);
    const endless = payload(minter.tokenFor(call(svid, { user: user({ expiresAt: Infinity }) })));
    expect(endless).toMatchObject({ exp: iat + 60 });
    expect(endless).not.toHaveProperty('user_exp');
  });

  it('are made once in 30 s for the same user, destination, SVID, chain and claims', async () => {
    let at = now;
    const minter = createHopMinter({ clock: () => at });
    const svid = await issue(p256());
    const first = minter.tokenFor(call(svid));
    at += 29_999;
    expect(minter.tokenFor(call(svid))).toBe(first);
    const others = [
      call(await issue(p256())),
      call(svid, { audience: [own] }),
      call(svid, { actors: ['spiffe://cluster.local/ns/shop/sa/edge'] }),
      call(svid, { claims: ['scope'] }),
      call(svid, { user: user() }),
    ];
    for (const other of others) expect(minter.tokenFor(other)).not.toBe(first);
    const again = minter.tokenFor(call(svid));
    at += 30_001;
    expect(minter.tokenFor(call(svid))).not.toBe(again);
    at -= 3_600_000;
    expect(verifyHopToken(minter.tokenFor(call(svid)), judge(svid, at))).toMatchObject({ ok: true });
  });

  it.each<[string, Partial<HopCall>, string]>([
    ['nobody to be for', { audience: [] }, 'ENMESH_PROPAGATION_AUDIENCE'],
    ['17 identities', { audience: Array.from({ length: 17 }, (_, i) => `${own}${i}`) }, 'ENMESH_PROPAGATION_AUDIENCE'],
    ['a user whose token has ended', { user: user({ expiresAt: now - 1 }) }, 'ENMESH_PROPAGATION_USER_EXPIRED'],
    ['a user whose end is no number', { user: user({ expiresAt: Number.NaN }) }, 'ENMESH_PROPAGATION_USER_EXPIRED'],
    ['a user without subject', { user: user({ subject: undefined }) }, 'ENMESH_PROPAGATION_NO_SUBJECT'],
    ['16 actors', { actors: Array.from({ length: 16 }, () => caller) }, 'ENMESH_PROPAGATION_TOO_LARGE'],
    ['8 KiB of claims', { user: user({ claims: { scope: 'x'.repeat(8000) } }) }, 'ENMESH_PROPAGATION_TOO_LARGE'],
  ])('are not made for %s', async (_what, fields, code) => {
    const svid = await issue(p256());
    const mint = (): string => createHopMinter({ clock: () => now }).tokenFor(call(svid, fields));
    expect(mint).toThrow(expect.objectContaining({ code }) as Error);
  });

  it('are not made with a key of another kind', async () => {
    const svid = { ...(await issue(p256())), privateKey: generateKeyPairSync('x25519').privateKey };
    const mint = (): string => createHopMinter({ clock: () => now }).tokenFor(call(svid));
    expect(mint).toThrow(expect.objectContaining({ code: 'ENMESH_PROPAGATION_KEY' }) as Error);
  });

  it('are refused where the clock is no number', async () => {
    const svid = await issue(p256());
    const token = createHopMinter({ clock: () => now }).tokenFor(call(svid));
    expect(verifyHopToken(token, judge(svid, Number.NaN))).toMatchObject({ ok: false, code: 'ENMESH_PROPAGATION_HOP_EXPIRED' });
  });

  it('are remembered until they end, and judged alike when forgotten', async () => {
    const svid = await issue(p256());
    let at = now;
    const minter = createHopMinter({ clock: () => at });
    const its = judge(svid);
    const token = minter.tokenFor(call(svid));
    const first = verifyHopToken(token, its);
    expect(verifyHopToken(token, its)).toBe(first);
    at += 61_000;
    for (let i = 0; i < 5; i++) verifyHopToken(minter.tokenFor(call(svid, { user: user() })), { ...its, now: at });
    expect(rememberedTokens().tokens).toBe(5);
    expect(verifyHopToken(token, its)).toEqual(first);
    expect(verifyHopToken(token, its)).not.toBe(first);
  });

  it('are remembered for the peer that signed them, and for no other', async () => {
    const [svid, other] = [await issue(p256()), await issue(p256())];
    const token = createHopMinter({ clock: () => now }).tokenFor(call(svid));
    expect(verifyHopToken(token, judge(svid))).toMatchObject({ ok: true });
    expect(verifyHopToken(token, judge(other))).toMatchObject({ ok: false, code: 'ENMESH_PROPAGATION_HOP_SIGNATURE' });
  });

  it('give an identity that no handler can change for the next request', async () => {
    const svid = await issue(p256());
    const verdict = verifyHopToken(createHopMinter({ clock: () => now }).tokenFor(call(svid)), judge(svid));
    const scope = (verdict.ok && verdict.user.claims['scope']) as string[];
    expect(() => scope.push('admin')).toThrow(TypeError);
  });
});

describe('the chain of actors', () => {
  it('is written with the last one outside, and read back', () => {
    expect(actClaim(['c', 'b', 'a'])).toEqual({ sub: 'c', act: { sub: 'b', act: { sub: 'a' } } });
    expect(parseActClaim(actClaim(['c', 'b', 'a']))).toEqual(['c', 'b', 'a']);
  });

  it.each([
    [undefined],
    [null],
    ['a'],
    [{}],
    [{ sub: '' }],
    [{ sub: 'a', act: 'b' }],
    [actClaim(Array.from({ length: 17 }, () => 'a'))],
  ])('is none in %j', (claim) => {
    expect(parseActClaim(claim)).toBeUndefined();
  });
});

describe('the algorithm of a key', () => {
  it('is the same for both of its halves, and none for keys that do not sign', () => {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
    expect(hopAlgorithmOf(publicKey)).toBe(hopAlgorithmOf(privateKey));
    expect(hopAlgorithmOf(createPublicKey(generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).privateKey))).toBeUndefined();
    expect(hopAlgorithmOf(generateKeyPairSync('rsa-pss', { modulusLength: 2048 }).privateKey)).toBeUndefined();
  });
});
