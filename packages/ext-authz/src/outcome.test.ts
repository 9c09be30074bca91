import { describe, expect, it } from 'vitest';
import { checkMethod, type CheckResponse } from './messages.js';
import { outcomeOf } from './outcome.js';

/** What the wire makes of a response: it goes through the very serializer and parser of a check. */
function received(response: object): CheckResponse {
  return checkMethod.responseDeserialize(checkMethod.responseSerialize(response)) as CheckResponse;
}
const header = (key: string, value: string, more: object = {}): object => ({ header: { key, value }, ...more });
const decide = (response: object) => outcomeOf(received(response));
const actionOf = (more: object): string | undefined => {
  const outcome = decide({ status: {}, ok_response: { headers: [header('X-A', 'v', more)] } });
  return outcome.allowed ? outcome.changes.setHeaders[0]?.action : undefined;
};

describe('a CheckResponse', () => {
  it('allows with an empty status, which is code 0', () => {
    expect(received({ status: {} }).status).toEqual({ code: 0, message: '' });
    expect(decide({ status: {} })).toMatchObject({ allowed: true, changes: { setHeaders: [], removeHeaders: [] } });
  });

  it('allows nothing without a status', () => {
    expect(() => decide({})).toThrow('has no status');
    expect(() => decide({ ok_response: {} })).toThrow('has no status');
  });

  it('is a failure with an error_response, and none with it and code 0', () => {
    expect(() => decide({ status: { code: 13 }, error_response: { status: { code: 503 } } })).toThrow('answered with an error');
    expect(decide({ status: { code: 0 }, error_response: {} })).toMatchObject({ allowed: true });
  });

  it.each([
    [{}, 'overwrite'],
    [{ append_action: 0 }, 'overwrite'],
    [{ append_action: 1 }, 'overwrite'],
    [{ append_action: 2 }, 'overwrite'],
    [{ append_action: 3 }, 'overwrite'],
    [{ append_action: 4 }, 'overwrite'],
    [{ append: { value: true } }, 'append'],
    [{ append: { value: true }, append_action: 2 }, 'append'],
    [{ append: { value: false } }, 'overwrite'],
    [{ append: {} }, 'overwrite'],
  ])('with a header of %j says %s', (more, action) => {
    expect(actionOf(more)).toBe(action);
  });

  it('has names in lower case and values as the bytes of UTF-8, of text and of raw bytes', () => {
    const headers = [header('X-A', 'ü'), { header: { key: 'b', raw_value: Buffer.from([0xfc]) } }];
    expect(decide({ status: { code: 7 }, denied_response: { headers } })).toMatchObject({
      headers: [
        ['x-a', 'Ã¼'],
        ['b', 'ü'],
      ],
    });
  });

  it.each([
    [undefined, 403],
    [0, 403],
    [1, 200],
    [200, 200],
    [418, 418],
    [599, 599],
    [600, 599],
    [2_000_000_000, 599],
    [-5, 200],
  ])('that denies with status %s is answered with %i', (code, status) => {
    const denied = code === undefined ? {} : { denied_response: { status: { code }, body: 'ü' } };
    expect(decide({ status: { code: 7 }, ...denied })).toMatchObject({ allowed: false, status });
  });

  it('passes over fields it does not know', () => {
    const known = checkMethod.responseSerialize({ status: { code: 7 } });
    // Field 4, dynamic_metadata, an empty message.
    const more = checkMethod.responseDeserialize(Buffer.concat([known, Buffer.from([0x22, 0x00])])) as CheckResponse;
    expect(outcomeOf(more)).toMatchObject({ allowed: false, status: 403 });
  });
});
