import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { rulesOf } from '../../../../test/support/jwt-verifier.js';
import { createTestClock, type TestClock } from '../testing/clock.js';
import { createTestIssuer, type IssuerServer, type Misbehaviour, type TestIssuer } from '../testing/issuer.js';
import { noticeEvents, type NoticeEvent } from '../telemetry/events.js';
import type { FetchText } from './fetch-text.js';
import { createKeySets, type KeySets, type KeySetsOptions } from './key-sets.js';
import type { JwtRuleSpec } from './resource.js';
import type { JwtRule, JwtRuleSet } from './rules.js';

let issuer: TestIssuer;
beforeAll(async () => {
  issuer = await createTestIssuer({ alg: 'ES256' });
});

const endings: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of endings.splice(0)) await end();
});

const uri = 'https://idp.test/jwks';
const remote = (rule: JwtRuleSpec = {}): JwtRuleSet => rulesOf({ issuer: 'https://idp.test', jwksUri: uri, ...rule });
const ruleIn = ({ rules }: JwtRuleSet, index = 0): JwtRule => {
  const rule = rules[index];
  if (rule === undefined) throw new Error('no rule');
  return rule;
};

function listen(): NoticeEvent[] {
  const heard: NoticeEvent[] = [];
  endings.push(noticeEvents.subscribe((event) => void heard.push(event)));
  return heard;
}

/** Lets everything that is already decided happen. */
const settle = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await Promise.resolve();
};

function create(options: Partial<KeySetsOptions>): KeySets {
  const keySets = createKeySets({ insecureHttp: () => false, random: () => 0.5, ...options });
  endings.push(() => keySets.close());
  return keySets;
}

/** Key sets on a standing clock whose fetches are counted and answered by `answer`. */
function createTimed(answer: (url: string) => string | Error): { keySets: KeySets; clock: TestClock; fetched: string[] } {
  const clock = createTestClock();
  const fetched: string[] = [];
  const fetchText: FetchText = async (url) => {
    fetched.push(url);
    const body = answer(url);
    if (body instanceof Error) throw body;
    return { status: 200, contentType: 'application/json', body };
  };
  return { keySets: create({ fetchText, clock: clock.now, timer: clock.timer }), clock, fetched };
}
const minute = 60_000;

describe('fetching in the background', () => {
  it('starts with use() and is waited for by ready()', async () => {
    const heard = listen();
    const { keySets, fetched } = createTimed(() => issuer.jwksText);
    const rules = remote();
    expect(keySets.of(ruleIn(rules))).toMatchObject({ keys: [], freshUntil: -Infinity });
    keySets.use(rules);
    await keySets.ready();
    expect(fetched).toEqual([uri]);
    expect(keySets.of(ruleIn(rules)).keys.map(({ kid }) => kid)).toEqual(['key-1']);
    expect(heard.map(({ kind, level }) => `${kind} ${level}`)).toEqual(['key-set-refreshed info']);
  });

  it('goes on within 20 minutes, up to a fifth sooner', async () => {
    const { keySets, clock, fetched } = createTimed(() => issuer.jwksText);
    keySets.use(remote());
    await keySets.ready();
    for (const [ms, times] of [
      [18 * minute - 1, 1],
      [1, 2],
      [18 * minute, 3],
    ] as const) {
      clock.advance(ms);
      await settle();
      expect(fetched).toHaveLength(times);
    }
    const times: number[] = [];
    for (const random of [0, 0.999]) {
      const keySets = create({
        fetchText: async () => Promise.reject(new Error('down')),
        random: () => random,
        timer: (_, ms) => (times.push(ms), () => {}),
      });
      keySets.use(remote());
      await keySets.ready();
    }
    expect(times.filter((ms) => ms > 10_000).map((ms) => Math.round(ms / 1000))).toEqual([54, 66]);
  });

  it('tries again after 1 minute, then 2, up to 60, and from the start after a success', async () => {
    let down = true;
    const { keySets, clock, fetched } = createTimed(() => (down ? new Error('down') : issuer.jwksText));
    keySets.use(remote());
    await keySets.ready();
    for (const minutes of [1, 2, 4, 8, 16, 32, 60, 60]) {
      const before = fetched.length;
      clock.advance(minutes * minute - 1);
      await settle();
      expect(fetched).toHaveLength(before);
      clock.advance(1);
      await settle();
      expect(fetched).toHaveLength(before + 1);
    }
    down = false;
    clock.advance(60 * minute);
    await settle();
    down = true;
    clock.advance(20 * minute);
    await settle();
    const before = fetched.length;
    clock.advance(minute);
    await settle();
    expect(fetched).toHaveLength(before + 1);
  });

  it('keeps the last keys for 24 hours while the issuer is down', async () => {
    let down = false;
    const heard = listen();
    const { keySets, clock } = createTimed(() => (down ? new Error('down') : issuer.jwksText));
    const rules = remote();
    keySets.use(rules);
    await keySets.ready();
    const set = keySets.of(ruleIn(rules));
    const until = clock.now() + 24 * 60 * minute;
    const { generation } = set;
    down = true;
    for (let i = 0; i < 20; i++) {
      clock.advance(30 * minute);
      await settle();
    }
    expect(set).toMatchObject({ generation, freshUntil: until, keys: [{ kid: 'key-1' }] });
    expect(heard.at(-1)).toMatchObject({
      kind: 'key-set-failed',
      level: 'warn',
      message: expect.stringContaining('the last keys stay in use') as string,
    });
  });

  it('drops keys that the issuer removed, all of them too, and leaves an unchanged set alone', async () => {
    const rotating = await createTestIssuer({ alg: 'ES256' });
    let empty = false;
    const heard = listen();
    const { keySets, clock } = createTimed(() => (empty ? '{"keys":[]}' : rotating.jwksText));
    const rules = remote();
    keySets.use(rules);
    await keySets.ready();
    const set = keySets.of(ruleIn(rules));
    const refresh = async (): Promise<string> => {
      clock.advance(20 * minute);
      await settle();
      return `${set.generation} ${set.keys.map(({ kid }) => kid).join()}`;
    };
    expect(await refresh()).toBe('1 key-1');
    await rotating.rotate({ keep: true });
    expect(await refresh()).toBe('2 key-2,key-1');
    await rotating.rotate();
    expect(await refresh()).toBe('3 key-3');
    empty = true;
    expect(await refresh()).toBe('4 ');
    expect(heard.map(({ level }) => level)).toEqual(['info', 'info', 'info', 'warn']);
  });

  it('is asked for by unknown keys twice a minute, one at a time', async () => {
    const { keySets, clock, fetched } = createTimed(() => issuer.jwksText);
    const rules = remote();
    keySets.use(rules);
    await keySets.ready();
    const set = keySets.of(ruleIn(rules));
    const missed = async (...kids: string[]): Promise<number> => {
      for (const kid of kids) set.missed(kid);
      await settle();
      return fetched.length;
    };
    expect(await missed('a', 'b', 'c')).toBe(2);
    expect(await missed('c', 'd', 'c')).toBe(3);
    for (let second = 0; second < 59; second++) {
      clock.advance(1000);
      expect(await missed('a', 'b', 'c', `${second}`)).toBe(3);
    }
    clock.advance(1000);
    expect(await missed('e', 'f')).toBe(4);
  });

  it('is asked for at most every 30 seconds while it fails, whoever asks', async () => {
    const { keySets, clock, fetched } = createTimed(() => new Error('down'));
    const rules = remote();
    keySets.use(rules);
    await keySets.ready();
    const set = keySets.of(ruleIn(rules));
    for (let second = 1; second <= 29; second++) {
      clock.advance(1000);
      set.missed(`${second}`);
      await settle();
    }
    expect(fetched).toHaveLength(1);
    clock.advance(1000);
    set.missed('a');
    await settle();
    expect(fetched).toHaveLength(2);
  });
});

describe('an issuer that does not answer', () => {
  it('keeps nobody else waiting: the other sets are there at once, and readiness comes after 10 seconds', async () => {
    const clock = createTestClock();
    const keySets = create({
      clock: clock.now,
      timer: clock.timer,
      fetchText: (url) =>
        url.includes('silent') ? new Promise(() => {}) : Promise.resolve({ status: 200, contentType: '', body: issuer.jwksText }),
    });
    const rules = rulesOf(
      { issuer: 'a', jwksUri: 'https://silent.test/', timeout: '60s' },
      { issuer: 'b', jwksUri: 'https://idp.test/' },
    );
    keySets.use(rules);
    let isReady = false;
    const ready = keySets.ready().then(() => (isReady = true));
    await settle();
    expect(keySets.of(ruleIn(rules, 1)).keys).toHaveLength(1);
    expect(keySets.status().map(({ issuer: name, state }) => `${name} ${state}`)).toEqual(['a waiting', 'b fresh']);
    clock.advance(9_999);
    await settle();
    expect(isReady).toBe(false);
    clock.advance(1);
    await ready;
    clock.advance(50_000);
    await settle();
    expect(keySets.status()[0]).toMatchObject({ state: 'unavailable', failures: 1 });
  });
});

describe('the sets in use', () => {
  it('are shared by rules of one issuer, kept over a reload, and ended when nobody uses them', async () => {
    const { keySets, clock, fetched } = createTimed(() => issuer.jwksText);
    const both = rulesOf(
      { issuer: 'a', jwksUri: uri, audiences: ['x'] },
      { issuer: 'a', jwksUri: uri },
      { issuer: 'b', jwksUri: uri },
    );
    keySets.use(both);
    await keySets.ready();
    expect(fetched).toHaveLength(2);
    const [first, b] = [keySets.of(ruleIn(both)), keySets.of(ruleIn(both, 2))];
    expect(keySets.of(ruleIn(both, 1))).toBe(first);
    const less = rulesOf({ issuer: 'a', jwksUri: uri });
    keySets.use(less);
    expect(keySets.of(ruleIn(less))).toBe(first);
    expect(b).toMatchObject({ generation: 2, keys: [], freshUntil: -Infinity });
    expect(fetched).toHaveLength(2);
    clock.advance(20 * minute);
    await settle();
    expect(fetched).toHaveLength(3);
    keySets.close();
    expect(clock.pending).toBe(0);
    keySets.use(both);
    expect(fetched).toHaveLength(3);
  });

  it('hand their keys on when only the timeout of a rule changes, though the issuer is down', async () => {
    let down = false;
    const { keySets, fetched } = createTimed(() => (down ? new Error('down') : issuer.jwksText));
    const [before, after, elsewhere] = [remote(), remote({ timeout: '9s' }), remote({ jwksUri: `${uri}/2`, timeout: '9s' })];
    keySets.use(before);
    await keySets.ready();
    const { freshUntil } = keySets.of(ruleIn(before));
    down = true;
    keySets.use(after);
    expect(keySets.of(ruleIn(after))).toMatchObject({ freshUntil, keys: [{ kid: 'key-1' }] });
    expect(keySets.of(ruleIn(before)).keys).toEqual([]);
    await keySets.ready();
    expect(keySets.of(ruleIn(after)).keys).toHaveLength(1);
    expect(keySets.status()).toMatchObject([{ state: 'stale', failures: 1 }]);
    keySets.use(elsewhere);
    expect(keySets.of(ruleIn(elsewhere)).keys).toEqual([]);
    expect(fetched).toHaveLength(3);
  });

  it('are the inline keys where a rule has them, without any fetch', async () => {
    const { keySets, fetched } = createTimed(() => new Error('never'));
    const rules = rulesOf({ issuer: 'a', jwks: issuer.jwksText });
    keySets.use(rules);
    await keySets.ready();
    const set = keySets.of(ruleIn(rules));
    expect(set).toMatchObject({ generation: 1, freshUntil: Infinity, keys: [{ kid: 'key-1' }] });
    expect(keySets.of(ruleIn(rules))).toBe(set);
    expect(fetched).toEqual([]);
  });

  it('come by discovery from an issuer without jwksUri', async () => {
    const { keySets, fetched } = createTimed((url) =>
      url.endsWith('openid-configuration') ? JSON.stringify({ jwks_uri: uri }) : issuer.jwksText,
    );
    const rules = rulesOf({ issuer: 'https://idp.test/realm/' });
    keySets.use(rules);
    await keySets.ready();
    expect(fetched).toEqual(['https://idp.test/realm/.well-known/openid-configuration', uri]);
    expect(keySets.of(ruleIn(rules)).keys).toHaveLength(1);
  });

  it('remember for 20 minutes where discovery led to, or until that fails', async () => {
    let answer: string | Error = issuer.jwksText;
    const { keySets, clock, fetched } = createTimed((url) =>
      url.endsWith('openid-configuration') ? JSON.stringify({ jwks_uri: uri }) : answer,
    );
    const rules = rulesOf({ issuer: 'https://idp.test' });
    keySets.use(rules);
    await keySets.ready();
    const set = keySets.of(ruleIn(rules));
    const next = async (ms: number, kid: string): Promise<number> => {
      fetched.length = 0;
      clock.advance(ms);
      set.missed(kid);
      await settle();
      return fetched.length;
    };
    expect(await next(minute, 'a')).toBe(1);
    answer = new Error('moved');
    expect(await next(minute, 'b')).toBe(1);
    answer = issuer.jwksText;
    expect(await next(minute, 'c')).toBe(2);
    expect(await next(19 * minute, 'd')).toBeGreaterThan(0);
    expect(await next(minute, 'e')).toBe(2);
  });

  it.each([
    ['no JSON', 'x', 'ENMESH_JWT_FETCH_FAILED'],
    ['no jwks_uri', '{}', 'ENMESH_JWT_FETCH_FAILED'],
    ['a list', '[]', 'ENMESH_JWT_FETCH_FAILED'],
    ['a jwks_uri over http', '{"jwks_uri":"http://idp.test/"}', 'ENMESH_JWT_FETCH_REFUSED'],
    ['a jwks_uri at a metadata address', '{"jwks_uri":"https://169.254.169.254/"}', 'ENMESH_JWT_FETCH_REFUSED'],
    ['a jwks_uri on the disk', '{"jwks_uri":"file:///etc/passwd"}', 'ENMESH_JWT_FETCH_REFUSED'],
  ])('do not come by a discovery document with %s', async (_, document, code) => {
    const heard = listen();
    const { keySets, fetched } = createTimed(() => document);
    keySets.use(rulesOf({ issuer: 'https://idp.test' }));
    await keySets.ready();
    expect(heard).toMatchObject([{ kind: 'key-set-failed', level: 'error', code }]);
    expect(fetched).toHaveLength(1);
  });
});

describe('plain http', () => {
  it('is refused with the very line that would allow it', async () => {
    const heard = listen();
    const { keySets, fetched } = createTimed(() => issuer.jwksText);
    keySets.use(rulesOf({ issuer: 'say "a"', jwksUri: 'http://user:secret@idp.test/jwks?key=secret' }));
    await keySets.ready();
    expect(fetched).toEqual([]);
    expect(heard).toMatchObject([{ kind: 'key-set-failed', code: 'ENMESH_JWT_FETCH_REFUSED' }]);
    expect(heard[0]?.message).toBe(
      'RequestAuthentication shop/jwt: key set of issuer "say \\"a\\"" at http://idp.test/jwks: plain http is not used for keys; ' +
        'to allow it for this issuer, write in enmesh.yaml: jwks: {"say \\"a\\"": {insecureHttp: true}}; tokens of this issuer are refused',
    );
  });

  it('is used, and told about once, for an issuer that it is allowed for', async () => {
    const heard = listen();
    const keySets = create({
      insecureHttp: (name) => name === 'a',
      fetchText: async () => ({ status: 200, contentType: '', body: issuer.jwksText }),
    });
    const rules = rulesOf(
      { issuer: 'a', jwksUri: 'http://idp.test/1' },
      { issuer: 'a', jwksUri: 'http://idp.test/2' },
      { issuer: 'b', jwksUri: 'http://idp.test/1' },
    );
    keySets.use(rules);
    await keySets.ready();
    expect([0, 1, 2].map((index) => keySets.of(ruleIn(rules, index)).keys.length)).toEqual([1, 1, 0]);
    expect(heard.filter(({ kind }) => kind === 'insecure-option')).toHaveLength(1);
  });

  it('is secure to a host of the mesh, if the fetch goes through the mesh', async () => {
    const rules = rulesOf(
      { issuer: 'a', jwksUri: 'http://idp.shop/jwks' },
      { issuer: 'b', jwksUri: 'http://idp.shop:8080/jwks' },
    );
    const isMeshHost = (host: string, port: number): boolean => host === 'idp.shop' && port === 80;
    const fetchText: FetchText = async () => ({ status: 200, contentType: '', body: issuer.jwksText });
    const meshed = create({ isMeshHost, fetchText });
    meshed.use(rules);
    await meshed.ready();
    expect([0, 1].map((index) => meshed.of(ruleIn(rules, index)).keys.length)).toEqual([1, 0]);
    const heard = listen();
    const unmeshed = create({ isMeshHost });
    unmeshed.use(rules);
    await unmeshed.ready();
    expect(heard.map(({ code }) => code)).toEqual(['ENMESH_JWT_FETCH_REFUSED', 'ENMESH_JWT_FETCH_REFUSED']);
  });
});

describe('a server over http', () => {
  interface Opened {
    readonly server: IssuerServer;
    readonly rules: JwtRuleSet;
    readonly keySets: KeySets;
    readonly heard: NoticeEvent[];
  }

  const opened = async (timeout = '30s'): Promise<Opened> => {
    const server = await issuer.serve();
    endings.push(() => server.close());
    const keySets = create({ insecureHttp: () => true });
    return { server, rules: remote({ jwksUri: server.uri, timeout }), keySets, heard: listen() };
  };

  it('is asked once, for the keys', async () => {
    const { server, rules, keySets } = await opened();
    keySets.use(rules);
    await keySets.ready();
    expect(keySets.of(ruleIn(rules)).keys).toHaveLength(1);
    expect(server.requests).toBe(1);
  });

  it.each<[Misbehaviour, RegExp]>([
    ['html', /it answers with HTML/],
    ['redirect-away', /it redirects to another origin/],
    ['redirect-loop', /more than 3 redirects/],
    ['silent', /no answer within 150 ms/],
    ['drip', /no answer within 150 ms/],
    ['error', /it answers with status 500/],
    ['huge', /larger than 1 MiB/],
    ['compressed', /compressed/],
    ['not-a-key-set', /no JSON object with a list "keys"/],
  ])('that does %s leaves the service ready, without keys, and with a reason', async (how, reason) => {
    // Only who never ends is waited for no longer.
    const { server, rules, keySets, heard } = await opened(how === 'silent' || how === 'drip' ? '150ms' : undefined);
    server.misbehave(how);
    keySets.use(rules);
    await keySets.ready();
    expect(keySets.of(ruleIn(rules))).toMatchObject({ keys: [], freshUntil: -Infinity });
    const failures = heard.filter(({ kind }) => kind === 'key-set-failed');
    expect(failures).toMatchObject([{ level: 'error', message: expect.stringMatching(reason) as string }]);
  });

  it('that is down is named by the reason, not by what it might have sent', async () => {
    const { server, rules, keySets, heard } = await opened();
    await server.close();
    keySets.use(rules);
    await keySets.ready();
    expect(heard.at(-1)?.message).toMatch(/it cannot be fetched \(ECONNREFUSED\); tokens of this issuer are refused$/);
  });
});

it('no event about keys holds any of a key', async () => {
  const heard = listen();
  const { keySets } = createTimed(() => issuer.jwksText);
  keySets.use(remote());
  await keySets.ready();
  const text = JSON.stringify(heard);
  for (const { x = '', y = '' } of issuer.jwks.keys) expect(text.includes(x) || text.includes(y)).toBe(false);
});
