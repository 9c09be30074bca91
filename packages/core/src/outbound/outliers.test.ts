import { describe, expect, it } from 'vitest';
import { createOutliers } from './outliers.js';

describe('the memory of endpoints that did not answer', () => {
  it('avoids one for 5 s, twice as long after each further failure, 2 minutes at most, and forgets when it answers', () => {
    let now = 0;
    const outliers = createOutliers(() => now);
    const avoidedFor = (): number => {
      const from = now;
      while (outliers.isAvoided('10.0.0.1:80')) now += 1_000;
      return now - from;
    };
    const pauses = Array.from({ length: 7 }, () => {
      outliers.failed('10.0.0.1:80');
      return avoidedFor();
    });
    expect(pauses).toEqual([5_000, 10_000, 20_000, 40_000, 80_000, 120_000, 120_000]);
    outliers.failed('10.0.0.1:80');
    outliers.answered('10.0.0.1:80');
    expect(avoidedFor()).toBe(0);
    outliers.failed('10.0.0.1:80');
    expect(avoidedFor()).toBe(5_000);
  });

  it('counts failures of attempts that were under way together once, and those of each endpoint apart', () => {
    let now = 0;
    const outliers = createOutliers(() => now);
    for (let i = 0; i < 10; i++) outliers.failed('10.0.0.1:80');
    expect([outliers.isAvoided('10.0.0.1:80'), outliers.isAvoided('10.0.0.2:80')]).toEqual([true, false]);
    now = 5_000;
    expect(outliers.isAvoided('10.0.0.1:80')).toBe(false);
  });

  it('holds 1024 endpoints, the latest ones', () => {
    const outliers = createOutliers(() => 0);
    for (let i = 0; i <= 1024; i++) outliers.failed(`10.0.0.1:${i}`);
    expect([outliers.isAvoided('10.0.0.1:0'), outliers.isAvoided('10.0.0.1:1'), outliers.isAvoided('10.0.0.1:1024')]).toEqual([
      false,
      true,
      true,
    ]);
  });
});
