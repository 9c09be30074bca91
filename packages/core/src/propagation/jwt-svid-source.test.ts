import { describe, expect, it } from 'vitest';
import { EnmeshError } from '../errors.js';
import type { MeshIdentity } from '../identity/source.js';
import { createTestClock } from '../testing/clock.js';
import { withSilenceRemembered } from './jwt-svid-source.js';

const clock = createTestClock();
const silent = new EnmeshError('ENMESH_ISSUANCE_WORKLOAD_API', 'The Workload API answered with DEADLINE_EXCEEDED', {
  details: { status: 'DEADLINE_EXCEEDED' },
});
const denied = new EnmeshError('ENMESH_ISSUANCE_WORKLOAD_API', 'gives this process no identity', {
  details: { status: 'PERMISSION_DENIED' },
});

function identityBy(fetch: (audience: string) => Promise<string>, limitMs?: number) {
  const given = { svid: {}, bundles: {}, fetchJwtSvid: fetch } as unknown as MeshIdentity;
  const identity = withSilenceRemembered(given, { clock: clock.now, ...(limitMs !== undefined && { limitMs }) });
  return (audience = 'a'): Promise<string> =>
    (identity.fetchJwtSvid as typeof fetch)(audience).catch((error: EnmeshError) => `${error.code} ${error.message}`);
}

describe('the JWT-SVIDs of a source', () => {
  it('are not waited for while it is silent, whatever the audience, and are had again once it speaks', async () => {
    let [asked, isSilent] = [0, true];
    const fetch = identityBy(async (audience) => {
      asked += 1;
      if (isSilent) throw silent;
      return `svid for ${audience}`;
    });
    const said = 'ENMESH_ISSUANCE_WORKLOAD_API The Workload API answered with DEADLINE_EXCEEDED';
    expect(await fetch()).toBe(said);
    expect(await fetch('b')).toBe(`${said}. So it is since 2026-01-01T00:00:00.000Z; it is asked again within a second or two`);
    expect(asked).toBe(1);
    isSilent = false;
    clock.advance(1_000);
    expect(await fetch('b')).toBe('svid for b');
  });

  it('are asked for each time where it refuses: it is there', async () => {
    let asked = 0;
    const fetch = identityBy(async () => {
      asked += 1;
      throw denied;
    });
    for (let i = 0; i < 3; i++) expect(await fetch()).toContain('gives this process no identity');
    expect(asked).toBe(3);
  });

  it('have a limit where it never answers', async () => {
    const fetch = identityBy(() => new Promise(() => {}), 20);
    expect(await fetch()).toBe('ENMESH_PROPAGATION_EXCHANGE_SETTINGS the source of the identity gives none within 20 ms');
    expect(await fetch()).toContain('So it is since 20');
  });

  it('are not invented: an identity without them stays as it is', () => {
    const identity = { svid: {}, bundles: {} } as unknown as MeshIdentity;
    expect(withSilenceRemembered(identity, { clock: clock.now })).toBe(identity);
  });
});
