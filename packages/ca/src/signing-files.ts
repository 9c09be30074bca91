import { generateKeyPairSync, X509Certificate, type KeyObject } from 'node:crypto';
import { join } from 'node:path';
import {
  EnmeshError,
  fileProblem,
  formatIstioId,
  isEnmeshError,
  readSmallFileIfThere,
  type SmallFile,
} from '@enmesh/core/issuance';
import {
  formatPem,
  isStrongKey,
  issueCertificate,
  parsePem,
  readCertificateFacts,
  readPrivateKey,
  svidOptions,
  verifySvidChain,
  type CertificateFacts,
} from '@enmesh/core/x509';

/** The four files of a signing certificate, named as in Istio's secret `cacerts`. */
export const signingFile = {
  certificate: 'ca-cert.pem',
  key: 'ca-key.pem',
  chain: 'cert-chain.pem',
  roots: 'root-cert.pem',
} as const;

/** A signing certificate with its key: what certificates are made with. */
export interface Signer {
  /** PEM of the certificate whose key signs. */
  readonly certificate: string;
  readonly key: KeyObject;
  /** What stands between a leaf and its root, the signing certificate first; empty when a root signs by itself. PEM, one each. */
  readonly intermediates: readonly string[];
  readonly roots: readonly string[];
  /** Between these times, in milliseconds since the epoch, every certificate up to a root is good. */
  readonly notBefore: number;
  readonly notAfter: number;
}

/** The public half of a signing directory. */
export interface TrustedCertificates {
  readonly roots: readonly string[];
  /** Every CA certificate in the directory that is no root, PEM. */
  readonly intermediates: readonly string[];
}

interface Parsed {
  readonly pem: string;
  readonly x509: X509Certificate;
  readonly facts: CertificateFacts;
}

const maxBytes = 1 << 18;

/**
 * Reads a signing certificate with key, chain and roots from a directory, and tries them: an identity is issued and verified against the roots.
 * `now` is milliseconds since the epoch. Throws `ENMESH_CA_FILES` for files that cannot sign, and `ENMESH_CA_EXPIRED` when it is not their time.
 */
export async function readSigner(directory: string, trustDomain: string, now: number): Promise<Signer> {
  const path = (name: keyof typeof signingFile): string => join(directory, signingFile[name]);
  const [own, ...more] = await readCertificates(path('certificate'));
  if (own === undefined || more.length > 0) throw unusable(path('certificate'), 'it does not hold one certificate');
  const key = await readKey(path('key'));
  if (!own.x509.checkPrivateKey(key)) throw unusable(path('key'), `it is not the key of ${signingFile.certificate}`);
  checkSigningCertificate(own, path('certificate'), trustDomain);
  const roots = await readRoots(directory);
  const line = lineToRoot(own, await readChain(path('chain')), roots);
  if (line === undefined)
    throw unusable(path('chain'), `it does not lead from ${signingFile.certificate} to ${signingFile.roots}`);
  const signer: Signer = {
    certificate: own.pem,
    key,
    intermediates: line.slice(0, -1).map(({ pem }) => pem),
    roots: roots.map(({ pem }) => pem),
    notBefore: Math.max(...line.map(({ facts }) => facts.notBefore)),
    notAfter: Math.min(...line.map(({ facts }) => facts.notAfter)),
  };
  checkTime(signer, directory, now);
  await trySigner(signer, directory, trustDomain, now);
  return signer;
}

/** Reads what a directory makes trusted: its roots, and the certificates below them. Needs no key. Throws `ENMESH_CA_FILES`. */
export async function readTrusted(directory: string): Promise<TrustedCertificates> {
  const roots = await readRoots(directory);
  const others = [
    ...(await readChain(join(directory, signingFile.certificate))),
    ...(await readChain(join(directory, signingFile.chain))),
  ];
  const rootPems = roots.map(({ pem }) => pem);
  const pems = new Set(others.filter(({ facts }) => facts.isCa).map(({ pem }) => pem));
  return { roots: rootPems, intermediates: [...pems].filter((pem) => !rootPems.includes(pem)) };
}

/** Throws `ENMESH_CA_EXPIRED` unless a signer may sign now. */
export function checkTime(signer: Signer, where: string, now: number): void {
  const time = (ms: number): string => new Date(ms).toISOString();
  if (now >= signer.notAfter)
    throw new EnmeshError(
      'ENMESH_CA_EXPIRED',
      `The signing certificate in ${where} (or one above it) ended at ${time(signer.notAfter)}`,
    );
  if (now < signer.notBefore)
    throw new EnmeshError(
      'ENMESH_CA_EXPIRED',
      `The signing certificate in ${where} (or one above it) begins at ${time(signer.notBefore)}; the clock says ${time(now)}`,
    );
}

async function readRoots(directory: string): Promise<readonly Parsed[]> {
  const path = join(directory, signingFile.roots);
  const roots = await readCertificates(path);
  if (roots.length === 0) throw unusable(path, 'it holds no certificate');
  for (const { facts } of roots) if (!facts.isCa) throw unusable(path, 'a certificate in it is no CA');
  return roots;
}

/** A chain may be absent: a root that signs by itself has none. */
async function readChain(path: string): Promise<readonly Parsed[]> {
  return (await readText(path)) === undefined ? [] : readCertificates(path);
}

async function readCertificates(path: string): Promise<readonly Parsed[]> {
  const file = await readText(path);
  if (file === undefined) throw unusable(path, 'it is missing');
  try {
    return parsePem(file.text, 'CERTIFICATE').map((der) => ({
      pem: formatPem('CERTIFICATE', der),
      x509: new X509Certificate(der),
      facts: readCertificateFacts(der),
    }));
  } catch (error) {
    throw unusable(path, isEnmeshError(error) ? error.message : 'OpenSSL cannot read it');
  }
}

async function readKey(path: string): Promise<KeyObject> {
  const file = await readText(path);
  if (file === undefined) throw unusable(path, 'it is missing');
  // A key that a Secret mounts for a group may be read by that group.
  if (process.platform !== 'win32' && (file.mode & 0o037) !== 0)
    throw unusable(path, `other users may use it (mode ${(file.mode & 0o777).toString(8)}); chmod 600 it`);
  try {
    return readPrivateKey(file.text);
  } catch (error) {
    throw unusable(path, isEnmeshError(error) ? error.message : 'it cannot be read');
  }
}

async function readText(path: string): Promise<SmallFile | undefined> {
  try {
    return await readSmallFileIfThere(path, maxBytes);
  } catch (error) {
    throw unusable(path, fileProblem(error));
  }
}

function checkSigningCertificate({ x509, facts }: Parsed, path: string, trustDomain: string): void {
  if (!facts.isCa || facts.keyUsage?.has('keyCertSign') === false) throw unusable(path, 'it is no CA that may sign certificates');
  if (!isStrongKey(x509.publicKey) || x509.publicKey.asymmetricKeyType === 'ed25519')
    throw unusable(path, 'its key is too weak or of another kind: RSA from 2048 bits, or ECDSA on P-256, P-384 or P-521');
  const foreign = facts.uriSans.find((uri) => uri !== `spiffe://${trustDomain}` && !uri.startsWith(`spiffe://${trustDomain}/`));
  if (foreign !== undefined) throw unusable(path, `it is for ${foreign}, not for spiffe://${trustDomain}`);
}

/** The certificates from the signing one to a root, which may be the same. */
function lineToRoot(own: Parsed, chain: readonly Parsed[], roots: readonly Parsed[]): readonly Parsed[] | undefined {
  const line: Parsed[] = [own];
  for (let current = own; line.length <= 10;) {
    if (roots.some(({ pem }) => pem === current.pem)) return line;
    const signedBy = ({ x509 }: Parsed): boolean => current.x509.checkIssued(x509) && current.x509.verify(x509.publicKey);
    const next = roots.find(signedBy) ?? chain.find((candidate) => !line.includes(candidate) && signedBy(candidate));
    if (next === undefined) return undefined;
    line.push(next);
    current = next;
  }
  return undefined;
}

/** Name constraints, path lengths, usages: whether peers will accept what this signer signs is best asked of the code that they ask. */
async function trySigner(signer: Signer, directory: string, trustDomain: string, now: number): Promise<void> {
  const uri = formatIstioId({ trustDomain, namespace: 'enmesh-ca', serviceAccount: 'trial' });
  const key = generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey;
  try {
    const issued = await issueCertificate({
      ...svidOptions(uri, key),
      issuer: signer.certificate,
      issuerKey: signer.key,
      notBefore: now - 1000,
      notAfter: now + 60_000,
    });
    const [leaf = Buffer.alloc(0), ...intermediates] = parsePem([issued, ...signer.intermediates].join(''), 'CERTIFICATE');
    const bundles = new Map([[trustDomain, { trustDomain, roots: signer.roots }]]);
    verifySvidChain({ leaf, intermediates, bundles, now });
  } catch (error) {
    const reason = isEnmeshError(error) ? error.message : 'OpenSSL refuses them';
    throw unusable(directory, `what its files sign is not accepted by peers: ${reason}`);
  }
}

function unusable(path: string, reason: string): EnmeshError {
  return new EnmeshError('ENMESH_CA_FILES', `${path}: ${reason}`, { details: { path } });
}
