import { createRequire } from 'node:module';
import { join } from 'node:path';
import { EnmeshError } from '../errors.js';
import type { IstioIdentitySettings, SpiffeIdentitySettings } from '../identity/choice.js';
import type { IdentityRequest, PlatformIdentity } from './provider.js';

/** What `@enmesh/istio` exports for `identity: istio`. */
export interface IstioIdentityPackage {
  createIstioIdentity(options: IstioIdentitySettings & IdentityRequest): Promise<PlatformIdentity>;
}

/** What `@enmesh/spiffe` exports for `identity: spiffe`. */
export interface SpiffeIdentityPackage {
  createSpiffeIdentity(options: SpiffeIdentitySettings & IdentityRequest): Promise<PlatformIdentity>;
}

interface IdentityPackages {
  readonly '@enmesh/istio': IstioIdentityPackage;
  readonly '@enmesh/spiffe': SpiffeIdentityPackage;
}

/**
 * Loads the package that an identity needs, beside us or in the application (`from`, by default its working directory): they bring gRPC along, which a
 * service with another identity does not pay. Throws `ENMESH_ISSUANCE_PACKAGE_MISSING` where it is not installed or cannot be loaded.
 */
export function loadIdentityPackage<Name extends keyof IdentityPackages>(
  name: Name,
  from: readonly string[] = [import.meta.url, join(process.cwd(), 'package.json')],
): IdentityPackages[Name] {
  for (const origin of from) {
    try {
      return createRequire(origin)(name) as IdentityPackages[Name];
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      const isAbsent = code === 'MODULE_NOT_FOUND' && message.includes(name);
      if (!isAbsent) throw missing(`${name} cannot be loaded: ${code ?? message}`, error);
    }
  }
  throw missing(`identity ${name.slice('@enmesh/'.length)} needs a package that is not installed; npm install ${name}`);
}

function missing(message: string, cause?: unknown): EnmeshError {
  return new EnmeshError('ENMESH_ISSUANCE_PACKAGE_MISSING', message, { cause });
}
