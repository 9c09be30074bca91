import { existsSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import {
  compileSnapshot,
  isDryRun,
  sourceOfRule,
  parseServiceFile,
  type MeshResources,
  type SourcePosition,
  type Workload,
} from '@enmesh/core/config';
import { isEnmeshError } from '@enmesh/core';
import { createEvaluator, type Evaluation, type Evaluator } from '@enmesh/core/inbound';
import { askedBy } from '../evaluate/request.js';
import { createStandInKeys, type StandInKeys } from '../evaluate/user.js';
import { MisuseError } from '../output.js';
import { readSingle } from '../validate/inputs.js';
import type { CaseFile, Expected, TestCase } from './case-file.js';

/** A case with what became of it; `failures` is empty when it passed. */
export interface Tried {
  readonly file: string;
  readonly test: TestCase;
  readonly evaluation: Evaluation;
  readonly failures: readonly string[];
}

/** A rule that no case ever decided by. */
export interface UndecidedRule {
  readonly policy: string;
  readonly rule: number;
  readonly action: string;
  readonly source: SourcePosition;
}

/** What a run of all case files gave. `rules` counts the rules of ALLOW and DENY that could have decided. */
export interface TestRun {
  readonly tried: readonly Tried[];
  readonly undecided: readonly UndecidedRule[];
  readonly rules: number;
}

/** Asks the door every case. Users' tokens are signed by a key of this run, which stands in for the keys of the issuers that the cases name. */
export async function runCases(files: readonly CaseFile[], resources: MeshResources): Promise<TestRun> {
  const issuers = new Set(files.flatMap(({ cases }) => cases.flatMap(({ user }) => user?.issuer ?? [])));
  const keys = createStandInKeys();
  const trusted = keys.trustedBy(resources, issuers);
  const tried: Tried[] = [];
  for (const { file, workload: given, cases } of files) {
    const named = given ?? nearestWorkload(file);
    const workload = typeof named === 'string' ? await readWorkload(named, file) : named;
    const evaluator = createEvaluator({ snapshot: compileSnapshot(trusted, workload, 1) });
    for (const test of cases) {
      const evaluation = await tryCase(test, { evaluator, keys, resources: trusted, workload });
      tried.push({ file, test, evaluation, failures: failuresOf(test.expected, evaluation) });
    }
  }
  return { tried, ...coverage(tried, resources) };
}

const levelsAbove = 4;

/** The path, relative to a test file, of the first `enmesh.yaml` beside it or above it; the one of the working directory where there is none. */
function nearestWorkload(file: string): string {
  const folders = Array.from({ length: levelsAbove }, (_, level) => resolve(dirname(file), ...Array<string>(level).fill('..')));
  const found = [...folders, process.cwd()].map((folder) => join(folder, 'enmesh.yaml')).find((path) => existsSync(path));
  if (found !== undefined) return relative(dirname(resolve(file)), found);
  throw new MisuseError(
    `${file} names no workload and there is no enmesh.yaml near it: write workload: {namespace, serviceAccount, labels}, or the path of an enmesh.yaml`,
  );
}

async function readWorkload(path: string, file: string): Promise<Workload> {
  const full = resolve(dirname(file), path);
  try {
    const { namespace, serviceAccount = 'default', labels = {} } = parseServiceFile(await readSingle(full), path);
    if (namespace === undefined) throw new MisuseError(`${path} names no namespace`);
    return { namespace, serviceAccount, labels };
  } catch (error) {
    throw isEnmeshError(error) ? new MisuseError(error.message) : error;
  }
}

interface Bench {
  readonly evaluator: Evaluator;
  readonly keys: StandInKeys;
  readonly resources: MeshResources;
  readonly workload: Workload;
}

async function tryCase(test: TestCase, { evaluator, keys, resources, workload }: Bench): Promise<Evaluation> {
  const { caller, request: told, port, sourceIp, user } = test;
  const { connection, request } = askedBy({
    method: told.method,
    path: told.path,
    host: told.host,
    header: told.headers,
    port,
    ...(caller === undefined ? {} : { as: caller }),
    ...(sourceIp === undefined ? {} : { sourceIp }),
  });
  return evaluator.evaluate(connection, user === undefined ? request : keys.carry(user, request, resources, workload));
}

function failuresOf(expected: Expected, { verdict, refusal }: Evaluation): string[] {
  const failures: string[] = [];
  for (const name of ['outcome', 'status', 'policy', 'rule'] as const) {
    const wanted = expected[name];
    if (wanted !== undefined && wanted !== verdict[name]) failures.push(`${name} is ${verdict[name] ?? 'none'}, wants ${wanted}`);
  }
  const { reason } = expected;
  if (reason !== undefined && refusal?.code !== reason && refusal?.reason.includes(reason) !== true)
    failures.push(
      `reason is ${refusal === undefined ? 'none' : JSON.stringify(refusal.reason)}, wants ${JSON.stringify(reason)}`,
    );
  return failures;
}

function coverage(tried: readonly Tried[], { authorizationPolicies }: MeshResources): Pick<TestRun, 'undecided' | 'rules'> {
  const decided = new Set(tried.map(({ evaluation: { verdict } }) => `${verdict.policy} ${verdict.rule}`));
  const all = authorizationPolicies.flatMap(({ meta, spec }): UndecidedRule[] => {
    const action = spec.action ?? 'ALLOW';
    // What only records never decides.
    if (action === 'AUDIT' || isDryRun(meta)) return [];
    return (spec.rules ?? []).map((_, rule) => ({
      policy: `${meta.namespace}/${meta.name}`,
      rule,
      action,
      source: sourceOfRule(meta, rule),
    }));
  });
  return { undecided: all.filter(({ policy, rule }) => !decided.has(`${policy} ${rule}`)), rules: all.length };
}
