import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readdirSync } from 'node:fs';

interface Check {
  readonly asked: string;
  readonly got: string;
  readonly want: string;
  readonly why: string;
  readonly ok: boolean;
}
interface Step {
  readonly title: string;
}
interface World {
  readonly shop: { readonly copy: { readonly directory: string } };
  walk(step: Step): Promise<readonly Check[]>;
  close(): Promise<void>;
}

const folder = new URL('../../examples/shop/', import.meta.url);
const { steps } = (await import(new URL('walk/steps.mjs', folder).href)) as { steps: readonly Step[] };
const { createWorld } = (await import(new URL('walk/world.mjs', folder).href)) as { createWorld: () => Promise<World> };

/** What `npm run demo` prints, as tests: the same steps, in the same order, on one shop of real processes. */
describe('the walk through the shop', () => {
  let world: World;
  beforeAll(async () => {
    world = await createWorld();
  });
  afterAll(() => world?.close());

  it.each(steps)('$title', async (step) => {
    const checks = await world.walk(step);
    expect(checks.map(({ asked, got }) => ({ asked, got }))).toEqual(checks.map(({ asked, want }) => ({ asked, got: want })));
    expect(checks.length).toBeGreaterThan(1);
    expect(checks.filter(({ why }) => why === '' || why.includes('says nothing'))).toEqual([]);
    const denials = checks.filter(({ got }) => got === '403 RBAC: access denied');
    expect(denials.filter(({ why }) => !/policy shop\/[\w-]+/.test(why))).toEqual([]);
  });

  it('ends with the configuration directory that the repository holds', () => {
    const own = readdirSync(new URL('mesh/', folder)).filter((name) => name !== 'registry.yaml');
    expect(readdirSync(world.shop.copy.directory).filter((name) => name !== 'registry.yaml')).toEqual(own);
  });
});
