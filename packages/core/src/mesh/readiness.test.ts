import { describe, expect, it } from 'vitest';
import { EnmeshError } from '../errors.js';
import type { SvidSource } from '../identity/source.js';
import { fixedSvidSource, type X509Svid } from '../identity/svid.js';
import { createReadiness, isIdentityHealthy } from './readiness.js';

const source = fixedSvidSource({ notBefore: 1000, notAfter: 2000 } as X509Svid);
const none: SvidSource = {
  current() {
    throw new EnmeshError('ENMESH_IDENTITY_NONE', 'none');
  },
  watch: () => () => {},
};

describe('isIdentityHealthy', () => {
  it.each([
    [1000, true],
    [1500, true],
    [1900, true],
    [1901, false],
    [2500, false],
  ])('is, at %d of a life from 1000 to 2000, %s', (now, healthy) => {
    expect(isIdentityHealthy(source, now)).toBe(healthy);
  });

  it('is not without any SVID', () => {
    expect(isIdentityHealthy(none, 1500)).toBe(false);
  });
});

describe('createReadiness', () => {
  it('is between begin and end, while the SVID lives', () => {
    let now = 1500;
    const readiness = createReadiness(source, () => now);
    const seen = [readiness.isReady()];
    readiness.begin();
    seen.push(readiness.isReady());
    now = 1950;
    seen.push(readiness.isReady());
    now = 1500;
    readiness.end();
    seen.push(readiness.isReady());
    expect(seen).toEqual([false, true, false, false]);
  });
});
