import { describe, expect, it } from 'vitest';
import { currentContext, isMeshItself, rawTokenOf, runAs, runAsMesh, runInContext, type RequestContext } from './context.js';

const context = (): RequestContext => ({ peer: undefined, user: undefined, actors: [] });

describe('the context of a request', () => {
  it('holds for what the handler awaits, and ends with it', async () => {
    const mine = context();
    const later = runInContext(mine, async () => {
      await new Promise((done) => setImmediate(done));
      return currentContext();
    });
    expect(currentContext()).toBeUndefined();
    expect(await later).toBe(mine);
  });

  it('is hidden while the mesh itself calls, also when a request set it off', () => {
    const seen = runInContext(context(), () => runAsMesh(() => [currentContext(), isMeshItself()]));
    expect(seen).toEqual([undefined, true]);
    expect(isMeshItself()).toBe(false);
  });

  it('can be taken up again by who kept it, and by nobody who made one up', () => {
    const mine = context();
    runInContext(mine, () => {});
    expect(runAs(mine, () => currentContext())).toBe(mine);
    for (const other of [context(), { ...mine }, structuredClone(mine), null, undefined, 'x'])
      expect(() => runAs(other as never, () => 1)).toThrow(TypeError);
  });

  it('has no raw token where the user did not come with one', () => {
    expect(rawTokenOf(context())).toBeUndefined();
    const user = { principal: 'i/s', issuer: 'i', subject: 's', audiences: [], presenter: undefined, claims: {}, payload: 'e30' };
    expect(rawTokenOf({ ...context(), user: { ...user, expiresAt: Infinity } })).toBeUndefined();
  });
});
