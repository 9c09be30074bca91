import { describe, expect, it } from 'vitest';
import { fixedSvidSource } from '../../packages/core/src/identity/svid.js';
import { fixedTrustBundleSource } from '../../packages/core/src/identity/trust-bundle.js';
import { createTestAuthority } from '../../packages/core/src/testing/authority.js';
import { connectMesh, connectTls } from '../../packages/core/src/tls/client.js';
import { startLab } from '../support/tls-lab.js';
import { betterTls, escapedNames, goSpiffe, limbo, type Presented } from './handshake-corpora.js';
import { lenientOrigination, onlyOnNode, strictOrigination } from './handshake-exceptions.js';
import { callWith, serveWith } from './handshake-parties.js';

const authority = await createTestAuthority();
const svid = await authority.issue({ namespace: 'shop', serviceAccount: 'stock' });
const nodeLine = Number.parseInt(process.versions.node, 10);
const isLong = process.env['ENMESH_LONG'] === '1';
const short = <T>(all: readonly T[], every: number): readonly T[] => (isLong ? all : all.filter((_, i) => i % every === 0));

/** Our SVID, with the roots of a case beside our own in the bundle of our trust domain and in one of its own. */
const identityFor = ({ roots }: Presented) => ({
  svid: fixedSvidSource(svid),
  bundles: fixedTrustBundleSource(
    new Map(['cluster.local', 'example.org'].map((name) => [name, { trustDomain: name, roots: [authority.rootPem, ...roots] }])),
  ),
});

const count = (codes: readonly string[]): string =>
  [...new Set(codes)]
    .sort()
    .map((code) => `${codes.filter((one) => one === code).length} ${code}`)
    .join(', ');

/** As a client of a STRICT port: the code by which it was refused, `served` if it was not. */
async function asClient(one: Presented): Promise<string> {
  const lab = await startLab(identityFor(one));
  lab.settings = { ...lab.settings, trustDomains: ['cluster.local', 'example.org', 'example.com'] };
  try {
    const text = await callWith(one, lab.port);
    if (lab.served.length > 0 || text !== '') return 'served';
    return lab.refusals[0]?.code ?? 'not presented';
  } finally {
    await lab.close();
  }
}

/** As the server of a mesh service that may have any of the names in its certificate: the code of our error, `taken` without one. */
const asService = (one: Presented): Promise<string> =>
  serveWith(one, (port, done) =>
    connectMesh(
      {
        ...{ host: '127.0.0.1', port, serverName: '', service: 'corpus', identity: identityFor(one), timeoutMs: 5000 },
        expected: ['spiffe://example.org/workload-1', ...(one.name === undefined ? [] : [one.name])],
      },
      done,
    ),
  );

/** As a server outside the mesh that is reached by a DestinationRule of mode SIMPLE: its chain by the case's roots, its name by the case's. */
const asOrigin = (one: Presented & { readonly name: string }): Promise<string> =>
  serveWith(one, (port, done) =>
    connectTls(
      { host: '127.0.0.1', port, ca: one.roots.join(''), subjectAltNames: [], verifyHost: one.name, timeoutMs: 5000 },
      done,
    ),
  );

it('lets in and takes a good SVID that is shown in the same way', async () => {
  const good = await authority.issueUri('spiffe://cluster.local/ns/shop/sa/gateway');
  const key = good.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
  const name = 'spiffe://cluster.local/ns/shop/sa/gateway';
  const shown: Presented = { id: 'control', chain: good.chain, key, roots: [], name, verdict: 'pass', isLive: true };
  expect([await asClient(shown), await asService(shown)]).toEqual(['served', 'taken']);
});

const corpora = [
  ['x509-limbo', limbo, 3],
  ['BetterTLS', betterTls, 20],
  ['hostile names of Node.js', escapedNames, 5],
  ['go-spiffe', goSpiffe, 1],
] as const;

describe.each(corpora)('%s in real handshakes', (title, corpus, every) => {
  const cases = short(corpus.cases, every);

  it.skipIf(corpus.absent)('gets nobody into a STRICT port', async () => {
    const outcomes: string[] = [];
    for (const one of cases) outcomes.push(await asClient(one));
    console.log(`${title}, ${cases.length} clients: ${count(outcomes)}`);
    expect(cases.filter((_, i) => !/^ENMESH_|^not presented$/.test(outcomes[i]!)).map(({ id }) => id)).toEqual([]);
    expect(outcomes.filter((outcome) => outcome.startsWith('ENMESH_')).length).toBeGreaterThan(cases.length * 0.8);
  });

  it.skipIf(corpus.absent)('is taken for no service of the mesh', async () => {
    const outcomes: string[] = [];
    for (const one of cases) outcomes.push(await asService(one));
    console.log(`${title}, ${cases.length} servers: ${count(outcomes)}`);
    expect(cases.filter((_, i) => !/^ENMESH_|^not presented$/.test(outcomes[i]!)).map(({ id }) => id)).toEqual([]);
    expect(outcomes.filter((outcome) => outcome.startsWith('ENMESH_')).length).toBeGreaterThan(cases.length * 0.8);
  });

  const named = cases.filter(
    (one): one is Presented & { readonly name: string } => one.name !== undefined && one.verdict !== undefined,
  );
  if (named.length === 0) return;
  it.skipIf(corpus.absent)('is reached by TLS that a DestinationRule originates as its verdict says', async () => {
    const outcomes = new Map<string, string>();
    for (const one of named) outcomes.set(one.id, await asOrigin(one));
    const presented = named.filter(({ id }) => outcomes.get(id) !== 'not presented');
    console.log(`${title}, ${presented.length} origins: ${count([...outcomes.values()])}`);
    const isTaken = ({ id }: Presented): boolean => outcomes.get(id) === 'taken';
    // A good case whose certificates have run out by now says nothing.
    const good = presented.filter(({ verdict, isLive }) => verdict === 'pass' && isLive);
    const bad = presented.filter(({ verdict }) => verdict === 'fail');
    const ids = (list: readonly Presented[]): string[] => list.map(({ id }) => id).sort();
    const listed = (list: Readonly<Record<string, readonly string[]>>, among: readonly Presented[]): string[] =>
      ids(among.filter(({ id }) => Object.values(list).flat().includes(id) && (onlyOnNode[id] ?? [nodeLine]).includes(nodeLine)));
    expect({ taken: ids(bad.filter(isTaken)), refused: ids(good.filter((one) => !isTaken(one))) }).toEqual({
      taken: listed(lenientOrigination, bad),
      refused: listed(strictOrigination, good),
    });
  });
});
