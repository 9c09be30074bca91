import { X509Certificate } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

/** What a party of a corpus shows in a handshake. PEM texts. */
export interface Presented {
  readonly id: string;
  readonly chain: string;
  readonly key: string;
  /** To be trusted in this case. */
  readonly roots: readonly string[];
  /** Whom its client wants to reach. */
  readonly name: string | undefined;
  /** Of the corpus, for a server of that name; absent where it says nothing. */
  readonly verdict: 'pass' | 'fail' | undefined;
  /** Whether every certificate is valid now: OpenSSL asks the machine's clock. */
  readonly isLive: boolean;
}

/** Cases of a folder of ENMESH_CORPORA; none, and a line that says so, where it is absent. */
export interface Corpus {
  readonly absent: boolean;
  readonly cases: readonly Presented[];
}

const corpora = process.env['ENMESH_CORPORA'] ?? resolve(import.meta.dirname, '../../../shared/corpora');

function openCorpus(folder: string, read: (path: string) => readonly Presented[]): Corpus {
  const path = join(corpora, folder);
  const absent = !existsSync(path);
  if (absent) console.log(`skip: no corpus ${folder} (ENMESH_CORPORA)`);
  return { absent, cases: absent ? [] : read(path) };
}

const json = (path: string): unknown => JSON.parse(readFileSync(path, 'utf8'));

function isLive(pems: readonly string[]): boolean {
  const now = Date.now();
  return pems.every((pem) => {
    const { validFrom, validTo } = new X509Certificate(pem);
    return Date.parse(validFrom) <= now && now < Date.parse(validTo);
  });
}

interface LimboCase {
  readonly id: string;
  readonly validation_kind: 'CLIENT' | 'SERVER';
  readonly expected_result: 'SUCCESS' | 'FAILURE';
  readonly peer_certificate: string;
  readonly peer_certificate_key: string | null;
  readonly untrusted_intermediates: readonly string[];
  readonly trusted_certs: readonly string[];
  readonly validation_time: string | null;
  readonly expected_peer_name: { readonly value: string } | null;
}

/** x509-limbo; a case without the leaf's key cannot be shown by anybody. */
export const limbo = openCorpus('x509-limbo', (path) =>
  (json(join(path, 'limbo.json')) as { testcases: LimboCase[] }).testcases
    .filter((one) => one.peer_certificate_key !== null)
    .map((one) => ({
      id: one.id,
      chain: [one.peer_certificate, ...one.untrusted_intermediates].join('\n'),
      key: one.peer_certificate_key ?? '',
      roots: one.trusted_certs,
      name: one.expected_peer_name?.value,
      verdict: one.validation_kind === 'CLIENT' ? undefined : one.expected_result === 'SUCCESS' ? 'pass' : 'fail',
      isLive: isLive([one.peer_certificate, ...one.untrusted_intermediates, ...one.trusted_certs]),
    })),
);

interface BetterCase {
  readonly id: number;
  readonly chain: readonly string[];
  readonly key: string;
  readonly hostname: string;
  readonly expected: 'PASS' | 'FAIL' | 'SOFT_PASS' | 'SOFT_FAIL';
}

/** BetterTLS; soft verdicts are opinions on what the standards leave open, so they count for neither side. */
export const betterTls = openCorpus('bettertls', (path) => {
  const data = json(join(path, 'bettertls.json')) as Record<'nameconstraints' | 'pathbuilding', { cases: BetterCase[] }> & {
    trustRoot: string;
  };
  const verdicts = { PASS: 'pass', FAIL: 'fail', SOFT_PASS: undefined, SOFT_FAIL: undefined } as const;
  return (['nameconstraints', 'pathbuilding'] as const).flatMap((suite) =>
    data[suite].cases.map((one) => ({
      id: `${suite} ${one.id}`,
      chain: one.chain.join('\n'),
      key: one.key,
      roots: [data.trustRoot],
      name: one.hostname,
      verdict: verdicts[one.expected],
      isLive: isLive([data.trustRoot, one.chain[0] ?? '']),
    })),
  );
});

/** Self-signed certificates of Node's own tests, each trusted as a root; the name is one that hides in others and is nobody's. */
export const escapedNames = openCorpus('node-x509-escaping', (path) => {
  const key = readFileSync(join(path, 'server-key.pem'), 'utf8');
  const files = readdirSync(path).filter((file) => file.endsWith('-cert.pem'));
  return files.flatMap((file) =>
    ['good.example.com', 'evil.example.com'].map((name) => {
      const chain = readFileSync(join(path, file), 'utf8');
      return { id: `${file} ${name}`, chain, key, roots: [chain], name, verdict: 'fail', isLive: isLive([chain]) } as const;
    }),
  );
});

/** go-spiffe's files, both those that make an SVID and those that do not; an intermediate is trusted as a root, else the leaf itself. */
export const goSpiffe = openCorpus('go-spiffe', (path) => {
  const folder = join(path, 'svid/x509svid');
  const { cases } = json(join(path, 'x509svid-parse.cases.json')) as { cases: { name: string; key: string; certs: string }[] };
  return cases.flatMap(({ name: id, key, certs }) => {
    const chain = readFileSync(join(folder, certs), 'utf8').replaceAll(/-----BEGIN PRIVATE KEY[\s\S]*?END PRIVATE KEY-----/g, '');
    const pems = chain.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? [];
    const [privateKey = ''] =
      readFileSync(join(folder, key), 'utf8').match(/-----BEGIN PRIVATE KEY[\s\S]*?END PRIVATE KEY-----/) ?? [];
    // The rest cannot be shown: a certificate or key is missing, cannot be read or does not belong to the other.
    if (pems.length === 0 || privateKey === '' || id.startsWith('Corrupt') || id.includes('does not match')) return [];
    return [{ id, chain, key: privateKey, roots: pems.slice(-1), name: undefined, verdict: undefined, isLive: isLive(pems) }];
  });
});
