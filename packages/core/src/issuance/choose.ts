import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { EnmeshError } from '../errors.js';
import type { FilesIdentitySettings, IdentityChoice } from '../identity/choice.js';
import { productionSign } from './environment.js';
import { findLayout } from './files-layout.js';
import { readNames } from './files-read.js';

/** What is asked of the machine when nobody said where the identity comes from. */
export interface ChooseOptions {
  /** Where a development authority would live. */
  readonly devDirectory: string;
  readonly env: NodeJS.ProcessEnv;
  /** Where the file system begins; `/` except in tests. */
  readonly root?: string;
}

/** A source of identity and why it was taken, as a sentence. */
export interface ChosenIdentity {
  readonly choice: Exclude<IdentityChoice, { readonly auto: true }>;
  readonly why: string;
}

/** Where platforms mount certificates, in the order in which they are looked at. */
export const knownDirectories: readonly string[] = [
  '/var/run/secrets/workload-spiffe-credentials',
  '/etc/certs',
  '/var/run/secrets/spiffe.io',
];

/** Istio's projected service-account token. */
export const istioTokenFile = '/var/run/secrets/tokens/istio-token';

/**
 * Looks for what the platform offers: certificates as files (`OUTPUT_CERTS`, then {@link knownDirectories}), a Workload API (`SPIFFE_ENDPOINT_SOCKET`), Istio's
 * CA (`CA_ADDR` or a token for it), and on a laptop the development authority. Rejects with `ENMESH_ISSUANCE_NO_SOURCE`, naming every place, when there is
 * none and this looks like production.
 */
export async function chooseIdentity({ devDirectory, env, root = '/' }: ChooseOptions): Promise<ChosenIdentity> {
  const files = await findFiles(env, root);
  if (files !== undefined) return files;
  const socket = said(env.SPIFFE_ENDPOINT_SOCKET);
  if (socket !== undefined) return { choice: { spiffe: {} }, why: 'SPIFFE_ENDPOINT_SOCKET is set' };
  if (said(env.CA_ADDR) !== undefined) return { choice: { istio: {} }, why: 'CA_ADDR is set' };
  if (await isThere(join(root, istioTokenFile))) return { choice: { istio: {} }, why: `${istioTokenFile} is there` };
  const sign = productionSign(env);
  if (sign === undefined)
    return { choice: { dev: { directory: devDirectory, allowAnywhere: false } }, why: 'nothing of a platform was found' };
  throw noSource(sign, [
    `certificates as files in ${['OUTPUT_CERTS', ...knownDirectories].join(', ')}`,
    'SPIFFE_ENDPOINT_SOCKET',
    `CA_ADDR and ${istioTokenFile}`,
  ]);
}

/** The directory of `identity: files` where none was named. Rejects with `ENMESH_ISSUANCE_NO_SOURCE`, naming every place. */
export async function chooseFiles({
  env,
  root = '/',
}: Pick<ChooseOptions, 'env' | 'root'>): Promise<
  ChosenIdentity & { readonly choice: { readonly files: FilesIdentitySettings } }
> {
  const found = await findFiles(env, root);
  if (found !== undefined) return found;
  throw noSource('identity is files and no directory is named', [['OUTPUT_CERTS', ...knownDirectories].join(', ')]);
}

async function findFiles(
  env: NodeJS.ProcessEnv,
  root: string,
): Promise<{ readonly choice: { readonly files: FilesIdentitySettings }; readonly why: string } | undefined> {
  const output = said(env.OUTPUT_CERTS);
  // Istio's agent may begin to write only after us.
  if (output !== undefined) return { choice: { files: { directory: join(root, output) } }, why: 'OUTPUT_CERTS is set' };
  for (const known of knownDirectories) {
    const directory = join(root, known);
    const names = await readNames(directory).catch(() => undefined);
    const layout = findLayout(names ?? []);
    if (layout === undefined) continue;
    return { choice: { files: { directory } }, why: `${known} holds ${layout.certificate}, as of ${layout.writer}` };
  }
  return undefined;
}

function said(value: string | undefined): string | undefined {
  return value === undefined || value.trim() === '' ? undefined : value;
}

function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

function noSource(reason: string, places: readonly string[]): EnmeshError {
  const message = `no identity was found here (${reason}). Looked for: ${places.join('; ')}. Say which it is: identity in enmesh.yaml, or ENMESH_IDENTITY`;
  return new EnmeshError('ENMESH_ISSUANCE_NO_SOURCE', message, { details: { places } });
}
