import { describe, expect, it } from 'vitest';
import { createHeldIdentity } from '../issuance/held-identity.js';
import { createTestAuthority } from '../testing/authority.js';
import { watchEpochs } from './epoch.js';

describe('the epochs of an identity', () => {
  it('count every new SVID and bundle, and are none while there is no identity', async () => {
    const authority = await createTestAuthority();
    const issue = () => authority.issue({ namespace: 'shop', serviceAccount: 'web' });
    let now = Date.now();
    const identity = createHeldIdentity({ clock: () => now });
    let changes = 0;
    const epochs = watchEpochs(identity, () => (changes += 1));
    expect(epochs.current).toBe(-1);
    identity.accept(await issue(), authority.bundles);
    expect([epochs.current, changes]).toEqual([2, 2]);
    const last = await issue();
    identity.accept(last, authority.bundles);
    expect(epochs.current).toBe(3);
    now = last.notAfter;
    expect(epochs.current).toBe(-1);
    now = Date.now();
    expect(epochs.current).toBe(3);
    identity.drop('taken back');
    expect(epochs.current).toBe(-1);
    identity.accept(last, authority.bundles);
    expect(epochs.current).toBe(5);
    epochs.stop();
    identity.accept(await issue(), authority.bundles);
    expect([epochs.current, changes]).toEqual([5, 5]);
  });
});
