import { generateKeyPairSync, X509Certificate, type KeyObject } from 'node:crypto';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { beforeAll, describe, expect, it } from 'vitest';
import type { X509Svid } from '../identity/svid.js';
import type { TrustBundle, TrustBundleSet } from '../identity/trust-bundle.js';
import { createTestAuthority } from '../testing/authority.js';
import { issueCertificate, rootOptions, svidOptions } from '../x509/certificate.js';
import { readPeerIdentity } from './peer.js';
import { formatPem, parsePem } from '../x509/pem.js';
import { clientCertificates, verifyClient, verifyPeer, verifyPeerAgain, type PeerCertificates } from './peer-certificate.js';

const hour = 3_600_000;
const start = Date.now() - 60_000;
const newKey = (): KeyObject => generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey;
const pemKey = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }) as string;
const derOf = (pem: string): Buffer => parsePem(pem, 'CERTIFICATE')[0] ?? Buffer.alloc(0);
const bundlesOf = (roots: Readonly<Record<string, string>>): TrustBundleSet =>
  new Map(Object.entries(roots).map(([trustDomain, root]) => [trustDomain, { trustDomain, roots: [root] }]));

let svid: X509Svid;
let root: string;
let otherRoot: string;
let middle: string;
let leaf: Buffer;
let directLeaf: Buffer;
let leafKey: string;
let serverKey: string;

beforeAll(async () => {
  const other = await createTestAuthority({ trustDomain: 'other.example' });
  otherRoot = other.rootPem;
  svid = await other.issue({ namespace: 'shop', serviceAccount: 'stock' });
  const [rootKey, middleKey, key] = [newKey(), newKey(), newKey()] as const;
  root = await issueCertificate({ ...rootOptions('cluster.local', rootKey), notBefore: start, notAfter: start + 2 * hour });
  const validity = { notBefore: start, notAfter: start + 4 * hour };
  const ca = { isCa: true, keyUsage: ['keyCertSign', 'cRLSign'] as const, subject: { commonName: 'intermediate' } };
  middle = await issueCertificate({
    ...ca,
    keyUsage: [...ca.keyUsage],
    key: middleKey,
    issuer: root,
    issuerKey: rootKey,
    ...validity,
  });
  leafKey = pemKey(key);
  serverKey = pemKey(svid.privateKey);
  const profile = svidOptions('spiffe://cluster.local/ns/shop/sa/gateway', key);
  leaf = derOf(await issueCertificate({ ...profile, issuer: middle, issuerKey: middleKey, ...validity }));
  directLeaf = derOf(await issueCertificate({ ...profile, issuer: root, issuerKey: rootKey, ...validity }));
});

describe('verifyPeer, of a peer that OpenSSL has verified', () => {
  const both = (): TrustBundleSet => bundlesOf({ 'cluster.local': root, 'other.example': otherRoot });
  const swapped = (): TrustBundleSet => bundlesOf({ 'cluster.local': otherRoot, 'other.example': root });
  const own = (): TrustBundleSet => bundlesOf({ 'cluster.local': root });
  const sent = (): PeerCertificates => ({ leaf, intermediates: [derOf(middle)] });
  const hidden = (): PeerCertificates => ({ leaf, intermediates: [] });
  const direct = (): PeerCertificates => ({ leaf: directLeaf, intermediates: [] });
  const ours = (): string => svid.chain;

  const cases: readonly [string, () => PeerCertificates, () => TrustBundleSet, () => string, number, boolean][] = [
    ['takes a chain that its own bundle signs', sent, both, ours, 0, true],
    ["refuses a chain that another trust domain's bundle signs", sent, swapped, ours, 0, false],
    ['takes a leaf that its own bundle signs directly', direct, both, ours, 0, true],
    ["refuses a leaf that another trust domain's bundle signs directly", direct, swapped, ours, 0, false],
    ['takes a hidden chain where no other roots could have signed it', hidden, own, ours, 0, true],
    ['refuses a hidden chain where other roots could have signed it', hidden, both, ours, 0, false],
    [
      'refuses a hidden chain of a trust domain that has no bundle',
      hidden,
      () => bundlesOf({ 'other.example': root }),
      ours,
      0,
      false,
    ],
    ['takes a hidden chain whose intermediate is in our own chain', hidden, both, () => svid.chain + middle, 0, true],
    ['refuses that where the intermediate leads to another domain', hidden, swapped, () => svid.chain + middle, 0, false],
    ['refuses a leaf of a root that has expired, which hides nothing', direct, own, ours, 3 * hour, false],
    ['refuses a chain of a root that has expired, where it was sent whole', sent, own, ours, 3 * hour, false],
  ];
  it.each(cases)('%s', (_title, certificates, bundles, chain, later, isTaken) => {
    const verify = (): unknown =>
      verifyPeer(
        certificates().leaf,
        () => certificates().intermediates,
        { svid: { ...svid, chain: chain() }, bundles: bundles() },
        Date.now() + later,
      );
    if (isTaken) expect(verify()).toMatchObject({ peer: { uri: 'spiffe://cluster.local/ns/shop/sa/gateway' } });
    else expect(verify).toThrow(expect.objectContaining({ code: 'ENMESH_X509_UNTRUSTED' }));
  });
});

describe('verifyPeer', () => {
  it('tells when the first certificate of the chain ends, and which root signed', () => {
    const epoch = { svid, bundles: bundlesOf({ 'cluster.local': root }) };
    const { peer, until, root: signer } = verifyPeer(leaf, () => [derOf(middle)], epoch, Date.now());
    expect(peer.notAfter - until).toBe(2 * hour);
    expect(signer).toBe(new X509Certificate(root).fingerprint256);
    // Behind a hidden intermediate nothing but the leaf can be seen.
    const other = { ...epoch, bundles: bundlesOf({ 'cluster.local': root }) };
    expect(verifyPeer(leaf, () => [], other, Date.now())).toMatchObject({ until: peer.notAfter, root: undefined });
  });

  it('looks at a leaf once for each epoch, while the chain lives and the clock does not stand before that time', () => {
    const bundles = bundlesOf({ 'cluster.local': root, 'other.example': otherRoot });
    const now = Date.now();
    let looks = 0;
    const verify = (epoch: { svid: X509Svid; bundles: TrustBundleSet }, at: number): unknown => {
      const sent = (): readonly Uint8Array[] => {
        looks += 1;
        return [derOf(middle)];
      };
      return verifyPeer(leaf, sent, epoch, at);
    };
    const first = verify({ svid, bundles }, now);
    expect([verify({ svid, bundles }, now + 1), looks]).toEqual([first, 1]);
    verify({ svid, bundles }, now - 1);
    expect(looks).toBe(2);
    expect(() => verify({ svid, bundles }, now + 3 * hour)).toThrow();
    expect(() => verify({ svid, bundles: bundlesOf({ 'cluster.local': otherRoot, 'other.example': root }) }, now)).toThrow();
    expect(looks).toBe(4);
  });

  it('keeps a peer of which only the root is known, where another root leaves, by one look into the bundle', () => {
    const record = {
      peer: readPeerIdentity(leaf),
      certificates: { leaf: Buffer.alloc(0), intermediates: [] },
      vouchedBy: { trustDomain: 'cluster.local', roots: [root, otherRoot] },
      proof: { until: Infinity, root: new X509Certificate(root).fingerprint256 },
    };
    const verify = (...roots: string[]): unknown => {
      const bundles = new Map([['cluster.local', { trustDomain: 'cluster.local', roots }]]);
      return verifyPeerAgain(record, { bundles, ownChain: () => svid.chain, now: Date.now() });
    };
    // A leaf that cannot even be read shows that nothing is verified anew.
    expect(verify(root)).toBe(record.proof);
    expect(() => verify(otherRoot)).toThrow();
  });
});

describe('verifyPeerAgain, of a peer whose connection outlives a change of bundles', () => {
  const bundle = (...roots: string[]): TrustBundle => ({ trustDomain: 'cluster.local', roots });
  const sent = (): PeerCertificates => ({ leaf, intermediates: [derOf(middle)] });
  const hidden = (): PeerCertificates => ({ leaf, intermediates: [] });
  const none = (): string => svid.chain;

  const cases: readonly [
    string,
    () => PeerCertificates,
    () => TrustBundle,
    () => TrustBundle | undefined,
    () => string,
    boolean,
  ][] = [
    ['keeps it where a root was added', sent, () => bundle(root), () => bundle(otherRoot, root), none, true],
    ['keeps it where a root left that did not sign it', sent, () => bundle(root, otherRoot), () => bundle(root), none, true],
    ['refuses it where its root left', sent, () => bundle(root, otherRoot), () => bundle(otherRoot), none, false],
    ['refuses it where its trust domain has no bundle any more', sent, () => bundle(root), () => undefined, none, false],
    ['keeps a hidden chain where a root was added', hidden, () => bundle(root), () => bundle(otherRoot, root), none, true],
    [
      'refuses a hidden chain where a root left, though it may be another',
      hidden,
      () => bundle(root, otherRoot),
      () => bundle(root),
      none,
      false,
    ],
    [
      'keeps it where our own chain has what is hidden',
      hidden,
      () => bundle(root, otherRoot),
      () => bundle(root),
      () => svid.chain + middle,
      true,
    ],
    [
      'refuses that where our own chain leads to a root that left',
      hidden,
      () => bundle(root, otherRoot),
      () => bundle(otherRoot),
      () => svid.chain + middle,
      false,
    ],
  ];
  it.each(cases)('%s', (_title, certificates, before, after, chain, isKept) => {
    const peer = readPeerIdentity(leaf);
    const next = after();
    const bundles: TrustBundleSet = new Map(next === undefined ? [] : [['cluster.local', next]]);
    const proof = { until: peer.notAfter, root: undefined };
    const record = { peer, certificates: certificates(), vouchedBy: before(), proof };
    const verify = (): unknown => verifyPeerAgain(record, { bundles, ownChain: chain, now: Date.now() });
    if (isKept) expect(verify).not.toThrow();
    else expect(verify).toThrow(expect.objectContaining({ code: 'ENMESH_X509_UNTRUSTED' }));
  });
});

describe('clientCertificates, of a client that OpenSSL has verified', () => {
  const shown = async (order: readonly ('direct' | 'chain')[]): Promise<string[]> => {
    const seen: string[] = [];
    const name = new Map([leaf, directLeaf, derOf(middle), derOf(root)].map((der, at) => [der.toString('hex'), 'LDMR'[at]]));
    const nameOf = (der: Uint8Array): string => name.get(Buffer.from(der).toString('hex')) ?? '?';
    const server = createServer({ key: serverKey, cert: svid.chain, ca: root, requestCert: true }, (socket) => {
      const client = clientCertificates(socket);
      seen.push(client === undefined ? '-' : [client.leaf, ...client.intermediates()].map(nameOf).join(''));
      socket.end();
    });
    await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
    const { port } = server.address() as { port: number };
    for (const each of order) {
      const cert = each === 'direct' ? formatPem('CERTIFICATE', directLeaf) : formatPem('CERTIFICATE', leaf) + middle;
      await new Promise<void>((closed) => {
        const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false, key: leafKey, cert });
        socket.on('error', () => {});
        socket.on('close', () => closed());
        socket.resume();
      });
    }
    server.close();
    return seen;
  };

  it('tells the same of callers with intermediates and without, in whichever order they come', async () => {
    const names = await shown(['direct', 'chain', 'chain', 'direct', 'direct', 'chain']);
    const chain = names[1] === 'L' ? 'L' : 'LM';
    // Some releases of Node hide intermediates from servers (nodejs/node#65579).
    expect(names.map((each) => each.replace(/R$/, ''))).toEqual(['D', chain, chain, 'D', 'D', chain]);
  });

  it('tells nothing of a connection that OpenSSL did not authorize', () => {
    expect(clientCertificates({ authorized: false } as TLSSocket)).toBeUndefined();
  });
});

describe('verifyClient', () => {
  const visit = async (version: 'TLSv1.2' | 'TLSv1.3', cert: string, see: (socket: TLSSocket) => void): Promise<void> => {
    const server = createServer({ key: serverKey, cert: svid.chain, ca: root, requestCert: true }, (socket) => {
      see(socket);
      socket.end();
    });
    await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
    const { port } = server.address() as { port: number };
    const options = { port, host: '127.0.0.1', rejectUnauthorized: false, key: leafKey, cert, maxVersion: version };
    await new Promise<void>((closed) => {
      const socket = connect(options);
      socket.on('close', () => closed());
      socket.resume();
    });
    server.close();
  };
  const directPem = (): string => formatPem('CERTIFICATE', directLeaf);
  const chainPem = (): string => formatPem('CERTIFICATE', leaf) + middle;

  it.each(['TLSv1.2', 'TLSv1.3'] as const)(
    'recognizes a caller that was verified before in this epoch, over %s, and reads its certificates in another',
    async (version) => {
      const epoch = { svid, bundles: bundlesOf({ 'cluster.local': root }) };
      const next = { svid, bundles: bundlesOf({ 'cluster.local': root }) };
      let reads = 0;
      const seen: unknown[] = [];
      const see = (socket: TLSSocket): void => {
        const read = socket.getPeerX509Certificate.bind(socket);
        socket.getPeerX509Certificate = () => ((reads += 1), read());
        const [first, again, other] = [epoch, epoch, next].map((each) => verifyClient(socket, each, Date.now()));
        seen.push(first?.peer.certificateSha256, again === first, other === first, reads);
      };
      const sha256 = (der: Uint8Array): string => new X509Certificate(der).fingerprint256.replaceAll(':', '').toLowerCase();
      await visit(version, directPem(), see);
      expect(seen).toEqual([sha256(directLeaf), true, false, 2]);
      await visit(version, directPem(), (socket) => void verifyClient(socket, next, Date.now()));
      seen.length = reads = 0;
      await visit(version, chainPem(), see);
      expect(seen).toEqual([sha256(leaf), true, false, 2]);
    },
  );

  it('does not recognize anybody on a connection that OpenSSL did not authorize', async () => {
    const epoch = { svid, bundles: bundlesOf({ 'cluster.local': root }) };
    let taken: unknown[] = [];
    await visit('TLSv1.3', directPem(), (socket) => {
      const before = verifyClient(socket, epoch, Date.now());
      socket.authorized = false;
      taken = [before?.peer.uri, verifyClient(socket, epoch, Date.now())];
    });
    expect(taken).toEqual(['spiffe://cluster.local/ns/shop/sa/gateway', undefined]);
  });
});
