import { isDeepStrictEqual } from 'node:util';
import { compileSnapshot, validateDocuments } from '@enmesh/core/config';
import { createEvaluator } from '@enmesh/core/inbound';
import { describe, expect, it } from 'vitest';
import { judgeWithCustom } from '../reference/custom.js';
import { Dice } from '../reference/random-values.js';
import { readDocuments } from '../reference/world.js';
import { authorizerSaying, makeAnswer, makeCustomWorld } from '../support/fuzz-custom.js';

const workload = { namespace: 'shop', serviceAccount: 'product', labels: {} };
const connection = { tls: false, sourceIp: '10.0.0.9', destinationIp: '10.0.0.1', destinationPort: 8080 };
const requestsPerWorld = 10;

/** Both verdicts of ten requests to the world of a seed. */
async function* compareSeed(
  seed: number,
): AsyncGenerator<{ readonly door: unknown; readonly reference: unknown; readonly kind: string }> {
  const dice = new Dice(seed);
  const world = makeCustomWorld(dice);
  const { resources, problems } = validateDocuments([
    { name: 'mesh', text: JSON.stringify(world.mesh), meshConfig: true },
    ...world.documents.map((document, index) => ({ name: `d${index}`, text: JSON.stringify(document) })),
  ]);
  // A CUSTOM rule that asks nothing, such as `{}`, is admitted; what is not is the generator's fault.
  if (resources === undefined) throw new Error(problems.map(({ message }) => message).join('; '));
  const snapshot = compileSnapshot(resources, workload, 1);
  const documents = readDocuments(world.documents.map((one) => JSON.stringify(one)).join('\n---\n'));
  for (let turn = 0; turn < requestsPerWorld; turn += 1) {
    const answer = makeAnswer(dice, world.kind);
    const evaluator = createEvaluator({ snapshot, authorizerOf: (provider) => authorizerSaying(answer, provider) });
    const lines = dice.list(0, 3, () => [dice.pick(['x-a', 'X-B', 'x-ab', 'y']), dice.pick(['1', '2', 'one'])] as const);
    const method = dice.pick(['GET', 'GET', 'POST', 'HEAD']);
    const request = {
      method,
      target: dice.pick(['/', '/a', '/a/c', '/b', '/z?q=1']),
      headers: [['host', 'a'] as const, ...lines],
    };
    const { verdict } = await evaluator.evaluate(connection, request);
    const theirs = judgeWithCustom({ workload, mesh: world.mesh, documents }, connection, request, {
      provider: world.provider,
      answer,
    });
    const { outcome, status, policy, rule, upstream } = verdict;
    const headers = (of: Iterable<readonly [string, string]>): object =>
      // No line brings the blanks around its value to a reader.
      Object.fromEntries([...of].flatMap(([name, value]) => (/^(x-a|x-b|x-ab|y)$/.test(name) ? [[name, value.trim()]] : [])));
    const grouped = new Map<string, string>();
    for (const [name, value] of theirs.upstream?.lines ?? [])
      grouped.set(name, grouped.has(name) ? `${grouped.get(name)}|${value}` : value);
    const ours = Object.entries(upstream?.headers ?? {}).map(([name, list]) => [name, list.join('|')] as const);
    const body = (text: string | undefined): string => (method === 'HEAD' || outcome === 'allowed' ? '' : (text ?? ''));
    yield {
      kind: `${outcome} ${status}`,
      door: { outcome, status, policy, rule, body: body(verdict.body), path: upstream?.path, headers: headers(ours) },
      reference: {
        outcome: theirs.outcome,
        status: theirs.status,
        policy: theirs.policy,
        rule: theirs.rule,
        body: body(theirs.body),
        path: theirs.upstream?.path,
        headers: headers(grouped),
      },
    };
  }
}

describe('the door and the linear reference with external authorizers', () => {
  it('decide alike whatever an authorizer of HTTP or gRPC says', async () => {
    const first = Number(process.env['ENMESH_SEED'] ?? 1);
    const worlds = process.env['ENMESH_LONG'] === '1' ? 5_000 : 300;
    const apart: unknown[] = [];
    const kinds: Record<string, number> = {};
    for (let seed = first; seed < first + worlds && apart.length < 5; seed += 1)
      for await (const { door, reference, kind } of compareSeed(seed)) {
        kinds[kind] = (kinds[kind] ?? 0) + 1;
        if (!isDeepStrictEqual(door, reference)) apart.push({ seed, door, reference });
      }
    console.log(`custom: ${worlds * requestsPerWorld} requests in ${worlds} worlds`, kinds);
    expect(apart).toEqual([]);
    for (const kind of ['allowed 200', 'denied 401', 'denied 403', 'denied 503']) expect(kinds[kind], kind).toBeGreaterThan(20);
  }, 480_000);
});
