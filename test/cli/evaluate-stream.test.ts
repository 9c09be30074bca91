import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { beforeAll, describe, expect, it } from 'vitest';
import { exceptions, ofTheCodec } from '../conformance/inbound-exceptions.js';
import { runEnmesh } from '../support/command-line.js';

const oracle = process.env['ENMESH_ORACLE'] ?? resolve(import.meta.dirname, '../../../shared/oracle');
const present = existsSync(resolve(oracle, 'inbound.ndjson.gz'));
if (!present) console.log(`skip: no oracle below ${oracle} for evaluate --stream`);

interface Expected extends Record<string, unknown> {
  readonly outcome: string;
  readonly status?: number;
  readonly body?: string;
  readonly details?: string;
}

interface Entry {
  readonly case: string;
  readonly expect: Expected;
}

interface Answer {
  readonly case: string | null;
  readonly verdict?: Expected;
  readonly error?: string;
}

const readOracle = (name: string): string => gunzipSync(readFileSync(resolve(oracle, name))).toString('utf8');
const entriesOf = (text: string): Entry[] =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Entry)
    .filter((line) => 'case' in line);

async function answers(input: string | Buffer): Promise<Answer[]> {
  const { code, out, error } = await runEnmesh(['evaluate', '--stream'], { input });
  expect({ code, error }).toEqual({ code: 0, error: '' });
  return out === ''
    ? []
    : out
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as Answer);
}

/** What is compared (the README of the oracle): all but details and headers, and bodies of 401 and 403 only. */
function comparable({ details: _, headers: __, body, ...rest }: Expected): object {
  return { ...rest, ...(body !== undefined && (rest.status === 401 || rest.status === 403) && { body }) };
}

describe.skipIf(!present)('evaluate --stream over the recorded verdicts of Istio and Envoy', () => {
  let entries: Entry[] = [];
  let given: Answer[] = [];
  const excuses = new Map(exceptions.flatMap(({ answer, cases }) => cases.map((name) => [name, answer])));

  beforeAll(async () => {
    const text = readOracle('inbound.ndjson.gz');
    entries = entriesOf(text);
    given = await answers(text);
  });

  it('answers every case by one line, in order', () => {
    expect(entries.length).toBeGreaterThan(1500);
    expect(given.map((answer) => answer.case)).toEqual(entries.map((entry) => entry.case));
  });

  it('agrees in every case but the excused ones, which are answered more strictly', () => {
    const compared = entries.map((entry, at) => ({ entry, verdict: given[at]?.verdict as Expected }));
    const judged = compared.filter(({ entry }) => !ofTheCodec.test(entry.expect.details ?? ''));
    const differing = judged.filter(({ entry, verdict }) => {
      try {
        expect(comparable(verdict)).toEqual(comparable(entry.expect));
        return false;
      } catch {
        return true;
      }
    });
    console.log(
      `evaluate --stream: ${judged.length} compared, ${judged.length - differing.length} agree, ${differing.length} excused`,
    );
    const answered = Object.fromEntries(differing.map(({ entry, verdict }) => [entry.case, verdict.status ?? verdict.outcome]));
    expect(answered).toEqual(Object.fromEntries(excuses));
  });

  it('answers the questions for modes and destinations as Istio does', async () => {
    const text = readOracle('outbound.ndjson.gz');
    const asked = entriesOf(text);
    const told = await answers(text);
    const verdicts = told.map(({ verdict }) => verdict as Record<string, unknown>);
    const refused = verdicts.filter((verdict) => verdict['refused'] === true);
    console.log(`evaluate --stream: ${asked.length} modes and destinations, ${refused.length} of them not called by enmesh`);
    // What is refused still says how Istio would call.
    const asIstio = verdicts.map(({ refused: _refused, code: _code, reason: _reason, ...verdict }) => verdict);
    expect(asIstio).toEqual(asked.map((entry) => entry.expect));
    for (const { code, reason } of refused) {
      expect(['ENMESH_OUTBOUND_NOBODY_EXPECTED', 'ENMESH_OUTBOUND_SILENT_PORT', 'ENMESH_OUTBOUND_CREDENTIAL']).toContain(code);
      expect(reason).toMatch(/\S+ .*(?:plaintext|every certificate of the mesh)/);
    }
    expect(refused.length / asked.length).toBeLessThan(0.06);
  });
});

const world = { world: 'w', workload: { namespace: 'shop', serviceAccount: 'product', labels: {} }, mesh: {}, documents: '' };
const connection = { tls: false, sourceIp: '127.0.0.1', destinationIp: '127.0.0.1', destinationPort: 8080 };
const request = { method: 'GET', target: '/x', headers: [['host', 'a']] };
const lines = (...values: unknown[]): string =>
  values.map((value) => `${typeof value === 'string' ? value : JSON.stringify(value)}\n`).join('');

describe('evaluate --stream', () => {
  it('gives every case of a world that does not validate its error', async () => {
    const bad = {
      ...world,
      documents:
        'kind: AuthorizationPolicy\napiVersion: security.istio.io/v1\nmetadata: {name: x, namespace: shop}\nspec: {acton: ALLOW}\n',
    };
    const told = await answers(
      lines(bad, { case: 'a', connection, request }, { case: 'b', connection, request }, world, {
        case: 'c',
        connection,
        request,
      }),
    );
    expect(told.map(({ case: name, error }) => [name, error === undefined])).toEqual([
      ['a', false],
      ['b', false],
      ['c', true],
    ]);
    expect(told[0]?.error).toContain('documents:4:');
  });

  it.each([
    ['no world', lines({ case: 'a', connection, request }), [['a', 'no world line came before this case']]],
    [
      'a line that is no JSON',
      lines(world, '{"case":', { case: 'b', connection, request }),
      [
        [null, 'the line is no JSON object'],
        ['b', undefined],
      ],
    ],
    [
      'a world that is no JSON',
      lines(world, '{"world": 1', { case: 'b', connection, request }),
      [['b', 'the world line before this case is no JSON object']],
    ],
    ['a case without a request', lines(world, { case: 'a', connection }), [['a', 'request is not an object']]],
    [
      'a request that is no list of headers',
      lines(world, { case: 'a', connection, request: { ...request, headers: 5 } }),
      [['a', 'request.headers is not a list']],
    ],
    [
      'a world without a workload',
      lines({ ...world, workload: undefined }, { case: 'a', connection, request }),
      [['a', 'the world names no workload']],
    ],
    [
      'a workload that has no identity',
      lines({ ...world, workload: { namespace: 'a/b' } }, { case: 'a', connection, request }),
      [['a', expect.stringContaining('SPIFFE ID')]],
    ],
    ['empty lines', lines(world, '', '  ', { case: 'a', connection, request }), [['a', undefined]]],
  ])('answers %s by one line for each case', async (_, input, expected) => {
    const told = await answers(input);
    expect(told.map(({ case: name, error }) => [name, error])).toEqual(expected);
  });

  it('never judges by the world before one that was too long to keep', async () => {
    const told = await answers(
      `${lines(world)}{"world":"w","documents":"${'x'.repeat(17 * 1024 * 1024)}"}\n${lines({ case: 'a', connection, request })}`,
    );
    expect(told.map(({ verdict }) => verdict)).toEqual([undefined, undefined]);
  });
});
