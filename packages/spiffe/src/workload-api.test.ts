import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { unrefTimer } from '@enmesh/core/issuance';
import { createTestAuthority } from '@enmesh/core/testing';
import { createFakeWorkloadApi, type FakeWorkloadApi } from '../../../test/support/workload-api.js';
import { createWorkloadApi, verifyJwtSvid, type JwtBundleSet, type WorkloadApi, type X509Context } from './index.js';
import { untilHolds } from '../../../test/support/waiting.js';

const web = 'spiffe://td.test/ns/shop/sa/web';
const second = 'spiffe://td.test/ns/shop/sa/second';

let agent: FakeWorkloadApi;
let api: WorkloadApi;

beforeEach(async () => {
  agent = await createFakeWorkloadApi();
  await agent.register({ namespace: 'shop', serviceAccount: 'web' });
  await agent.register({ namespace: 'shop', serviceAccount: 'second', hint: 'second' });
  api = createWorkloadApi({ socket: agent.uri, timeoutMs: 2000, timer: (run, ms) => unrefTimer(run, ms / 20) });
});
afterEach(async () => {
  api.close();
  await agent.stop();
});

const refused = (words: RegExp) =>
  expect.objectContaining({ code: 'ENMESH_ISSUANCE_WORKLOAD_API', message: expect.stringMatching(words) as unknown }) as unknown;

describe('JWT-SVIDs', () => {
  it('are fetched for audiences, of the default identity or of one by its ID', async () => {
    const first = await api.fetchJwtSvid({ audience: 'stock' });
    expect(first).toMatchObject({ spiffeId: { uri: web }, audiences: ['stock'], hint: '' });
    expect(first.expiresAt).toBeGreaterThan(Date.now());
    expect(await api.fetchJwtSvid({ audience: ['a', 'b'], spiffeId: second })).toMatchObject({
      spiffeId: { uri: second },
      audiences: ['a', 'b'],
      hint: 'second',
    });
    expect(agent.headerless).toBe(0);
  });

  it('are not fetched without an audience, for an ID that is none, or that this process does not have', async () => {
    await expect(api.fetchJwtSvid({ audience: [] })).rejects.toThrow(TypeError);
    await expect(api.fetchJwtSvid({ audience: '' })).rejects.toThrow(TypeError);
    await expect(api.fetchJwtSvid({ audience: 'a', spiffeId: 'web' })).rejects.toThrow(
      expect.objectContaining({ code: 'ENMESH_IDENTITY_SPIFFE_ID_INVALID' }),
    );
    await expect(api.fetchJwtSvid({ audience: 'a', spiffeId: 'spiffe://td.test/admin' })).rejects.toThrow(
      refused(/gives this process no identity/),
    );
  });

  it('of another identity or audience than asked for are not handed on', async () => {
    const token = vi.spyOn(agent, 'token');
    const misgiven = expect.objectContaining({ code: 'ENMESH_ISSUANCE_WORKLOAD_MESSAGE' }) as unknown;
    const good = agent.token(web, ['stock']);
    token.mockReturnValue(good);
    await expect(api.fetchJwtSvid({ audience: 'stock', spiffeId: second })).rejects.toThrow(misgiven);
    await expect(api.fetchJwtSvid({ audience: 'other' })).rejects.toThrow(misgiven);
    expect((await api.fetchJwtSvid({ audience: 'stock' })).token).toBe(good);
    token.mockReturnValue('no token');
    await expect(api.fetchJwtSvid({ audience: 'stock' })).rejects.toThrow(
      expect.objectContaining({ code: 'ENMESH_JWT_SVID_INVALID' }),
    );
  });

  it('are validated by the agent, which is not quoted when it refuses', async () => {
    const { token } = await api.fetchJwtSvid({ audience: 'stock' });
    const { spiffeId, claims } = await api.validateJwtSvid({ audience: 'stock', token });
    expect(spiffeId).toBe(web);
    expect(claims).toMatchObject({ sub: web, aud: ['stock'], exp: expect.any(Number) as unknown });
    const rich = agent.token(web, ['stock'], { claims: { deep: { list: [1, 'a', true, null] } } });
    expect((await api.validateJwtSvid({ audience: 'stock', token: rich })).claims['deep']).toEqual({
      list: [1, 'a', true, null],
    });
    const refusal = await api.validateJwtSvid({ audience: 'other', token }).catch((error: unknown) => error);
    expect(refusal).toEqual(refused(/refuses ValidateJWTSVID/));
    expect(String(refusal)).not.toContain(token.slice(0, 16));
  });

  it('end their wait when the agent is silent or not there', async () => {
    agent.misbehave('silent');
    const impatient = createWorkloadApi({ socket: agent.uri, timeoutMs: 100 });
    await expect(impatient.fetchJwtSvid({ audience: 'a' })).rejects.toThrow(refused(/DEADLINE_EXCEEDED/));
    impatient.close();
    agent.kill();
    const absent = createWorkloadApi({ env: { SPIFFE_ENDPOINT_SOCKET: agent.uri } });
    await expect(absent.fetchJwtSvid({ audience: 'a' })).rejects.toThrow(refused(/no such socket/));
    absent.close();
  });

  it('are verified here with the JWT bundles, which follow the keys of the trust domain', async () => {
    agent.federate('other.test', await createTestAuthority({ trustDomain: 'other.test' }));
    let bundles: JwtBundleSet = new Map();
    api.watchJwtBundles({ onChange: (state) => (bundles = state) });
    await untilHolds(() => expect([...bundles.keys()]).toEqual(['td.test', 'other.test']));
    expect(bundles.get('other.test')?.keys).toEqual([]);
    const { token } = await api.fetchJwtSvid({ audience: 'stock' });
    const verify = (audience = 'stock') => verifyJwtSvid({ token, audience, bundles, now: Date.now() });
    expect(verify().spiffeId.uri).toBe(web);
    expect(() => verify('product')).toThrow(/another audience/);
    agent.rotateJwtKey(true);
    await untilHolds(() => expect(bundles.get('td.test')?.keys).toHaveLength(2));
    expect(verify().spiffeId.uri).toBe(web);
    agent.rotateJwtKey();
    await untilHolds(() => expect(bundles.get('td.test')?.keys).toHaveLength(1));
    expect(() => verify()).toThrow(/no key of its trust domain/);
  });
});

describe('watchX509', () => {
  it('tells every identity with its hint, and that the agent took them back', async () => {
    const states: X509Context[] = [];
    const lost: boolean[] = [];
    const stop = api.watchX509({
      onChange: (state) => void states.push(state),
      onProblem: (_, { isLost }) => void lost.push(isLost),
    });
    await untilHolds(() => expect(states).toHaveLength(1));
    expect(states[0]?.svids.map(({ svid, hint }) => [svid.id.uri, hint])).toEqual([
      [web, ''],
      [second, 'second'],
    ]);
    await agent.rotate(second);
    await untilHolds(() => expect(states).toHaveLength(2));
    expect(states[1]?.bundles).toBe(states[0]?.bundles);
    agent.remove(web);
    agent.remove(second);
    await untilHolds(() => expect(lost).toEqual([true, false]));
    stop();
  });

  it('goes on when a listener throws or a message is bad', async () => {
    const problems: string[] = [];
    let count = 0;
    api.watchX509({
      onChange() {
        count += 1;
        throw new Error('secret');
      },
      onProblem(error) {
        problems.push(error.code);
        throw new Error('secret');
      },
    });
    await untilHolds(() => expect(count).toBe(1));
    agent.override({ svids: [] });
    await untilHolds(() => expect(problems).toEqual(['ENMESH_ISSUANCE_WORKLOAD_MESSAGE', 'ENMESH_ISSUANCE_WORKLOAD_MESSAGE']));
    agent.override(undefined);
    await untilHolds(() => expect(count).toBe(2));
  });
});
