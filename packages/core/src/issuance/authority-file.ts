import { randomUUID, X509Certificate, type KeyObject } from 'node:crypto';
import { access, link, open, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { EnmeshError, isEnmeshError } from '../errors.js';
import { readCertificateFacts } from '../x509/certificate-facts.js';
import { formatPem, parsePem } from '../x509/pem.js';
import { isStrongKey } from '../x509/strength.js';
import { readPrivateKey } from '../x509/svid-verify.js';
import { fileProblem, readSmallFile, type SmallFile } from '../x509/small-file.js';

/** A certificate authority as its file holds it; times are milliseconds since the epoch. */
export interface AuthorityKeys {
  readonly rootPem: string;
  readonly key: KeyObject;
  readonly notBefore: number;
  readonly notAfter: number;
}

/** Key and root of an authority stand in one file, so that no reader ever sees one without the other. */
export const authorityFile = 'authority.pem';

/** A copy of the root alone, for `curl --cacert` and the like; nothing reads it. */
export const rootFile = 'root-cert.pem';

const maxBytes = 1 << 16;

/**
 * Reads the authority in a directory, or undefined when there is none yet. Throws `ENMESH_ISSUANCE_AUTHORITY_UNUSABLE` when it cannot be read,
 * is damaged, is open to other users, or belongs to another trust domain.
 */
export async function readAuthority(directory: string, trustDomain: string): Promise<AuthorityKeys | undefined> {
  const path = join(directory, authorityFile);
  try {
    const directoryStats = await stat(directory);
    checkOwner(directory, directoryStats, 0o022, 'chmod 700');
    const text = await readPrivately(path);
    return parseAuthority(path, text, trustDomain);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    if (isEnmeshError(error, 'ENMESH_ISSUANCE_AUTHORITY_UNUSABLE')) throw error;
    throw unusable(path, isEnmeshError(error) ? error.message : fileProblem(error));
  }
}

/**
 * Puts a new authority into the directory in one step, mode 0600. Returns false, and changes nothing, when there is one already:
 * an authority is never overwritten, whoever holds the lock.
 */
export async function publishAuthority(
  directory: string,
  authority: { readonly rootPem: string; readonly key: KeyObject },
): Promise<boolean> {
  const path = join(directory, authorityFile);
  const temporary = `${path}.${randomUUID()}`;
  const text = authority.key.export({ type: 'pkcs8', format: 'pem' }).toString() + authority.rootPem;
  try {
    await writeDurably(temporary, text);
    return await linkOnce(temporary, path);
  } finally {
    await rm(temporary, { force: true });
  }
}

/** Puts the copy of the root and a .gitignore beside the authority where they are missing; nothing depends on either. */
export async function writeCompanions(directory: string, authority: { readonly rootPem: string }): Promise<void> {
  await writeFile(join(directory, '.gitignore'), '*\n', { flag: 'wx' }).catch(() => {});
  const path = join(directory, rootFile);
  await access(path).catch(async () => {
    const temporary = `${path}.${randomUUID()}`;
    await writeFile(temporary, authority.rootPem, { flag: 'wx', mode: 0o644 })
      .then(() => rename(temporary, path))
      .catch(() => rm(temporary, { force: true }));
  });
}

async function linkOnce(temporary: string, path: string): Promise<boolean> {
  try {
    await link(temporary, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
  }
  // A file system without hard links: the lock alone has to keep others away between these two lines.
  if (
    await access(path).then(
      () => true,
      () => false,
    )
  )
    return false;
  await rename(temporary, path);
  return true;
}

async function writeDurably(path: string, text: string): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function readPrivately(path: string): Promise<string> {
  const file = await readSmallFile(path, maxBytes);
  checkOwner(path, file, 0o077, 'chmod 600');
  return file.text;
}

/** Whoever can write the directory or read the key can be any workload. Windows has no such modes. */
function checkOwner(path: string, stats: Pick<SmallFile, 'mode' | 'uid'>, forbidden: number, remedy: string): void {
  if (process.platform === 'win32') return;
  if ((stats.mode & forbidden) !== 0)
    throw unusable(path, `other users may use it (mode ${(stats.mode & 0o777).toString(8)}); ${remedy} it`);
  const user = process.getuid?.();
  if (user !== 0 && stats.uid !== user && stats.uid !== 0) throw unusable(path, 'it belongs to another user');
}

function parseAuthority(path: string, text: string, trustDomain: string): AuthorityKeys {
  const [der, more] = parsePem(text, 'CERTIFICATE');
  if (der === undefined || more !== undefined) throw unusable(path, 'it does not hold one root certificate');
  const key = readPrivateKey(text);
  const facts = readCertificateFacts(der);
  const x509 = new X509Certificate(der);
  if (!x509.checkPrivateKey(key) || !x509.verify(x509.publicKey))
    throw unusable(path, 'key and root certificate do not belong together');
  if (!facts.isCa || !facts.keyUsage?.has('keyCertSign') || !isStrongKey(key)) throw unusable(path, 'its certificate is no root');
  if (facts.uriSans.length !== 1 || facts.uriSans[0] !== `spiffe://${trustDomain}`) {
    throw unusable(path, `it is for ${facts.uriSans.join(', ') || 'no trust domain'}, not for spiffe://${trustDomain}`);
  }
  return { rootPem: formatPem('CERTIFICATE', der), key, notBefore: facts.notBefore, notAfter: facts.notAfter };
}

function unusable(path: string, reason: string): EnmeshError {
  const message = `The development authority ${path} is not usable: ${reason}. Mend that, or delete it and have a new one made.`;
  return new EnmeshError('ENMESH_ISSUANCE_AUTHORITY_UNUSABLE', message, { details: { path } });
}
