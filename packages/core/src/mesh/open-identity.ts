import type { IdentityChoice } from '../identity/choice.js';
import type { MeshIdentity } from '../identity/source.js';
import { chooseFiles, chooseIdentity } from '../issuance/choose.js';
import { createDevIdentity } from '../issuance/dev-authority.js';
import { createFilesIdentity } from '../issuance/files.js';
import { loadIdentityPackage } from '../issuance/identity-package.js';
import type { IdentityRequest, PlatformIdentity } from '../issuance/provider.js';
import { noticeEvents } from '../telemetry/events.js';
import { firstIdentity } from './first-identity.js';

/** Where the identity of a mesh shall come from, and for whom. */
export interface OpenIdentityOptions extends IdentityRequest {
  readonly identity: MeshIdentity | IdentityChoice;
  /** False where nobody chose: a laptop then gets its development authority without a word. */
  readonly isIdentitySaid: boolean;
  readonly devDirectory: string;
  readonly env: NodeJS.ProcessEnv;
  /** Where the file system begins, for `auto`; `/` except in tests. */
  readonly root?: string;
}

/** An identity of a mesh, and when it is there. */
export interface OpenedIdentity {
  readonly identity: MeshIdentity;
  ready(): Promise<void>;
  /** Ends what was opened here; values given by code stay open. */
  close(): void | Promise<void>;
}

/**
 * Opens the identity of a mesh: the values that code gave, or the source that was named, or, for `auto`, what the platform offers, told as `identity-chosen`.
 * Rejects with `ENMESH_ISSUANCE_NO_SOURCE`, `ENMESH_ISSUANCE_PACKAGE_MISSING` or what the source refuses at once.
 */
export async function openIdentity(options: OpenIdentityOptions): Promise<OpenedIdentity> {
  const { identity } = options;
  if ('svid' in identity) return { identity, ready: () => readyOf(identity), close: () => {} };
  const { choice, why } = await resolveChoice(identity, options);
  const opened = await openSource(choice, options);
  if (why !== undefined && noticeEvents.hasSubscribers) {
    const description = 'description' in opened ? opened.description : `the development authority in ${options.devDirectory}`;
    noticeEvents.publish({
      kind: 'identity-chosen',
      level: 'info',
      message: `The identity comes from ${description}: ${why}`,
      details: { source: Object.keys(choice)[0] },
    });
  }
  return { identity: opened, ready: () => opened.ready(), close: () => opened.close() };
}

type Named = Exclude<IdentityChoice, { readonly auto: true }>;

async function resolveChoice(choice: IdentityChoice, options: OpenIdentityOptions): Promise<{ choice: Named; why?: string }> {
  if ('auto' in choice) {
    const chosen = await chooseIdentity(options);
    return 'dev' in chosen.choice && !options.isIdentitySaid ? { choice: chosen.choice } : chosen;
  }
  const isOpen = 'files' in choice && choice.files.directory === undefined && choice.files.certificate === undefined;
  if (!isOpen) return { choice };
  const found = await chooseFiles(options);
  return { choice: { files: { ...choice.files, ...found.choice.files } }, why: found.why };
}

type Closable = MeshIdentity & Pick<PlatformIdentity, 'ready' | 'close'> & Partial<Pick<PlatformIdentity, 'description'>>;

async function openSource(choice: Named, options: OpenIdentityOptions): Promise<Closable> {
  const { workload, trustDomain, trustDomainAliases = [], env, clock = Date.now } = options;
  const request: IdentityRequest = { workload, trustDomain, trustDomainAliases, env, clock };
  if ('dev' in choice) return createDevIdentity({ ...choice.dev, workload, trustDomain, env, clock });
  if ('files' in choice) return createFilesIdentity({ ...choice.files, ...request });
  if ('istio' in choice) return loadIdentityPackage('@enmesh/istio').createIstioIdentity({ ...choice.istio, ...request });
  return loadIdentityPackage('@enmesh/spiffe').createSpiffeIdentity({ ...choice.spiffe, ...request });
}

function readyOf(identity: MeshIdentity & Partial<Pick<PlatformIdentity, 'ready'>>): Promise<void> {
  return typeof identity.ready === 'function' ? identity.ready() : firstIdentity(identity);
}
