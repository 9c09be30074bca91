import { generateKeyPairSync, randomUUID, type KeyObject } from 'node:crypto';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { EnmeshError, fileProblem, parseTrustDomain, readSmallFileIfThere } from '@enmesh/core/issuance';
import { issueCertificate, rootOptions } from '@enmesh/core/x509';
import { denyFile } from './deny-list.js';
import { codeOf, syncDirectory, writeNew } from './durable.js';
import { tokensDirectory } from './join-tokens.js';
import { readSigner, signingFile } from './signing-files.js';
import { stateFile } from './state.js';

/** The key of a root that was made here. Nothing needs it but the making of another intermediate: keep it elsewhere. */
export const rootKeyFile = 'root-key.pem';

/** The roots that are trusted now, for handing out: services that hold it keep up with a rotation. A copy; nothing reads it. */
export const trustBundleFile = 'trust-bundle.pem';

const day = 86_400_000;
const rootLife = 3_652 * day;
const intermediateLife = 3 * 365 * day;
const backdated = 120_000;

/** What an authority is made of. */
export interface InitOptions {
  /** Made, or empty. */
  readonly directory: string;
  readonly trustDomain: string;
  /** A directory with the four files of Istio's `cacerts`; without it a root and an intermediate are made. */
  readonly from?: string;
  /** The text of the settings file and its name. */
  readonly settings: { readonly name: string; readonly text: string };
  /** Milliseconds since the epoch; default `Date.now`. */
  readonly clock?: () => number;
}

/**
 * Makes the directory of an authority in one step: signing files (plugged in or made, ECDSA P-256, root for ten years, intermediate for three),
 * state, settings, an empty deny list and a place for join tokens. Keys have mode 0600. Nothing is overwritten.
 * Throws `ENMESH_CA_EXISTS`, `ENMESH_CA_FILES`, `ENMESH_CA_EXPIRED` or the errors of an impossible trust domain.
 */
export async function initAuthority(options: InitOptions): Promise<{ readonly rootKey: string | undefined }> {
  const { from, settings, clock = Date.now } = options;
  const directory = resolve(options.directory);
  const trustDomain = parseTrustDomain(options.trustDomain);
  const now = clock();
  return makeDirectory(directory, async (draft) => {
    await (from === undefined ? writeSigningFiles(draft, trustDomain, now) : plugIn(draft, from));
    const { roots } = await readSigner(draft, trustDomain, now);
    await writeNew(join(draft, trustBundleFile), roots.join(''), 0o644);
    const state = { version: 1, phase: 'settled', signer: '.', serving: '.', trusted: ['.'], since: now };
    await writeNew(join(draft, stateFile), `${JSON.stringify(state, undefined, 2)}\n`, 0o600);
    await writeNew(join(draft, settings.name), settings.text, 0o644);
    await writeNew(join(draft, denyFile), denyHead, 0o644);
    await writeNew(join(draft, '.gitignore'), '*\n', 0o644);
    await mkdir(join(draft, tokensDirectory), { mode: 0o700 });
    return { rootKey: from === undefined ? join(directory, rootKeyFile) : undefined };
  });
}

/** Makes a directory of signing files in one step, plugged in from another or new. Throws as {@link initAuthority}. */
export async function makeSigningDirectory(o: {
  readonly directory: string;
  readonly trustDomain: string;
  readonly from: string | undefined;
  readonly now: number;
}): Promise<void> {
  await makeDirectory(o.directory, async (draft) => {
    await (o.from === undefined ? writeSigningFiles(draft, o.trustDomain, o.now) : plugIn(draft, o.from));
    await readSigner(draft, o.trustDomain, o.now);
  });
}

const denyHead = `# Who gets no certificates any more, one a line; read again at each request:
#   identity spiffe://cluster.local/ns/shop/sa/gateway
#   serial 5f0c...   a certificate that may not renew itself
`;

/** Fills a directory beside the one wanted and renames it, so that it is there whole or not at all. */
async function makeDirectory<T>(directory: string, fill: (draft: string) => Promise<T>): Promise<T> {
  const draft = `${directory}.${randomUUID()}`;
  try {
    await mkdir(dirname(directory), { recursive: true });
    await checkAbsent(directory);
    await mkdir(draft, { mode: 0o700 });
    const result = await fill(draft);
    await syncDirectory(draft);
    // Over an empty directory a rename succeeds, over any other it fails.
    if (process.platform === 'win32') await rm(directory, { recursive: true, force: true });
    await rename(draft, directory);
    await syncDirectory(dirname(directory));
    return result;
  } catch (error) {
    if (error instanceof EnmeshError) throw error;
    const code = codeOf(error);
    if (code === 'ENOTEMPTY' || code === 'EEXIST') throw existing(directory);
    throw new EnmeshError('ENMESH_CA_FILES', `${directory} cannot be made (${code})`, { details: { path: directory } });
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
}

async function checkAbsent(directory: string): Promise<void> {
  try {
    if ((await readdir(directory)).length > 0) throw existing(directory);
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
  }
}

function existing(directory: string): EnmeshError {
  return new EnmeshError('ENMESH_CA_EXISTS', `${directory} is not empty; nothing was changed`, { details: { path: directory } });
}

async function plugIn(draft: string, from: string): Promise<void> {
  for (const name of Object.values(signingFile)) {
    const path = join(from, name);
    const file = await readSmallFileIfThere(path, 1 << 18).catch((error: unknown) => {
      throw new EnmeshError('ENMESH_CA_FILES', `${path}: ${fileProblem(error)}`, { details: { path } });
    });
    if (file === undefined && name === signingFile.chain) continue;
    if (file === undefined) throw new EnmeshError('ENMESH_CA_FILES', `${path}: it is missing`, { details: { path } });
    await writeNew(join(draft, name), file.text, name === signingFile.key ? 0o600 : 0o644);
  }
}

async function writeSigningFiles(draft: string, trustDomain: string, now: number): Promise<void> {
  const rootKey = newKey();
  const key = newKey();
  const notBefore = now - backdated;
  const root = await issueCertificate({
    ...rootOptions(trustDomain, rootKey),
    subject: {
      organization: trustDomain,
      commonName: `Root ${new Date(now).toISOString().slice(0, 10)} ${randomUUID().slice(0, 8)}`,
    },
    notBefore,
    notAfter: now + rootLife,
  });
  const certificate = await issueCertificate({
    ...rootOptions(trustDomain, key),
    subject: { organization: trustDomain, commonName: `Intermediate ${randomUUID().slice(0, 8)}` },
    pathLength: 0,
    issuer: root,
    issuerKey: rootKey,
    notBefore,
    notAfter: now + intermediateLife,
  });
  const pemOf = (secret: KeyObject): string => secret.export({ type: 'pkcs8', format: 'pem' }).toString();
  await writeNew(join(draft, rootKeyFile), pemOf(rootKey), 0o600);
  await writeNew(join(draft, signingFile.key), pemOf(key), 0o600);
  await writeNew(join(draft, signingFile.certificate), certificate, 0o644);
  await writeNew(join(draft, signingFile.chain), certificate + root, 0o644);
  await writeNew(join(draft, signingFile.roots), root, 0o644);
}

function newKey(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey;
}
