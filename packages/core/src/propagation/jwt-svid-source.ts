import { EnmeshError, isEnmeshError } from '../errors.js';
import type { MeshIdentity } from '../identity/source.js';
import { createSourceMemory } from './source-memory.js';

/** An agent stands on the same machine: it answers at once, or not at all. */
const defaultLimitMs = 3_000;

/**
 * An identity whose JWT-SVIDs are not waited for while their source is silent: further calls are refused at once by what the last attempt said and since when, and the
 * source is asked by one call at a time. Another identity is given back as it is.
 */
export function withSilenceRemembered(
  identity: MeshIdentity,
  { clock: now, limitMs = defaultLimitMs }: { readonly clock: () => number; readonly limitMs?: number },
): MeshIdentity {
  const { svid, bundles } = identity;
  if (identity.fetchJwtSvid === undefined) return identity;
  const fetch = identity.fetchJwtSvid.bind(identity);
  const memory = createSourceMemory({
    ...{ limitMs, now },
    judge: (error) => (isSilence(error) ? 'silent' : 'answered'),
    refuse(last, since) {
      const { code, message } = last as EnmeshError;
      return new EnmeshError(code, `${message}. So it is since ${since}; it is asked again within a second or two`);
    },
  });
  return { svid, bundles, fetchJwtSvid: (audience) => memory.ask((ms) => within(fetch(audience), ms)) };
}

/** By code and status: the source may come with another copy of this package. */
function isSilence(error: unknown): boolean {
  if (isEnmeshError(error, 'ENMESH_PROPAGATION_EXCHANGE_SETTINGS')) return true;
  const { code, details } = (error ?? {}) as { readonly code?: unknown; readonly details?: { readonly status?: unknown } };
  return code === 'ENMESH_ISSUANCE_WORKLOAD_API' && ['DEADLINE_EXCEEDED', 'UNAVAILABLE'].includes(String(details?.status));
}

async function within(fetching: Promise<string>, ms: number): Promise<string> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const error = new EnmeshError(
      'ENMESH_PROPAGATION_EXCHANGE_SETTINGS',
      `the source of the identity gives none within ${ms} ms`,
    );
    timer = setTimeout(() => reject(error), ms);
  });
  try {
    return await Promise.race([fetching, late]);
  } finally {
    clearTimeout(timer);
  }
}
