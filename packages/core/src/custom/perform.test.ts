import { describe, expect, it } from 'vitest';
import type { ExtensionProvider } from '../policy/provider.js';
import { noChanges, type CheckOutcome, type CheckRequest, type CustomAuthorizer } from './contract.js';
import { performCheck } from './perform.js';

const provider = { name: 'authz', timeoutMs: 60_000 } as ExtensionProvider;
const request = {} as CheckRequest;
const asking = (check: CustomAuthorizer['check']) => (): CustomAuthorizer => ({ check, close() {} });
const allowed: CheckOutcome = { allowed: true, changes: noChanges };
const denied = (fields: object): CheckOutcome => ({ allowed: false, status: 403, headers: [], body: Buffer.of(), ...fields });
const perform = (check: CustomAuthorizer['check'], fields = {}, client = new AbortController().signal) =>
  performCheck({ ...provider, ...fields }, asking(check), request, client);

describe('a check', () => {
  it('gives what the authorizer says', async () => {
    expect(await perform(() => Promise.resolve(allowed))).toBe(allowed);
  });

  it.each([
    [
      'throws',
      () => {
        throw new TypeError('secret');
      },
      'TypeError',
    ],
    ['rejects', () => Promise.reject(Object.assign(new Error('secret'), { code: 'ECONNRESET' })), 'ECONNRESET'],
    ['rejects with no error', () => Promise.reject(42 as unknown as Error), 'number'],
    [
      'denies with a header that is split',
      () => Promise.resolve(denied({ headers: [['a', 'b\r\nc: d']] })),
      'a header that is none',
    ],
    [
      'denies with a header name that is none',
      () => Promise.resolve(denied({ headers: [['a b', 'c']] })),
      'a header that is none',
    ],
    ['denies with status 999', () => Promise.resolve(denied({ status: 999 })), 'a status that is none'],
    ['denies with status 100', () => Promise.resolve(denied({ status: 100 })), 'a status that is none'],
    [
      'sets a header with a line feed',
      () =>
        Promise.resolve({
          allowed: true,
          changes: { ...noChanges, setHeaders: [{ name: 'a', value: 'b\n', action: 'append', isListed: false }] },
        } as const),
      'a header that is none',
    ],
  ] as [string, CustomAuthorizer['check'], string][])(
    'fails when the authorizer %s, without its words',
    async (_what, check, reason) => {
      const outcome = await perform(check);
      expect(outcome).toEqual({ failed: true, reason: expect.stringContaining(reason) as string });
      expect(JSON.stringify(outcome)).not.toContain('secret');
    },
  );

  it('fails when no authorizer can be made', async () => {
    const broken = (): never => {
      throw new Error('none');
    };
    expect(await performCheck(provider, broken, request, new AbortController().signal)).toMatchObject({ failed: true });
  });

  it('fails at its deadline even when the authorizer ignores the signal, which is told', async () => {
    let told: AbortSignal | undefined;
    const outcome = await perform(
      (_request, signal) => {
        told = signal;
        return new Promise(() => {});
      },
      { timeoutMs: 5 },
    );
    expect(outcome).toEqual({ failed: true, reason: 'the check of authz failed: no answer within 5 ms' });
    expect(told?.aborted).toBe(true);
  });

  it('ends when the client goes away, and is not begun when it is gone', async () => {
    const client = new AbortController();
    const pending = perform(() => new Promise(() => {}), {}, client.signal);
    client.abort();
    expect(await pending).toMatchObject({ failed: true, reason: expect.stringContaining('the client went away') as string });
    expect(await perform(() => Promise.reject(new Error('asked')), {}, client.signal)).toMatchObject({
      reason: expect.stringContaining('the client went away') as string,
    });
  });
});
