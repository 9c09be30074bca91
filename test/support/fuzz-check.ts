import { isDeepStrictEqual } from 'node:util';
import { compileSnapshot, validateDocuments, type ConfigFile, type MeshResources } from '@enmesh/core/config';
import { createEvaluator, type Evaluation, type Evaluator } from '@enmesh/core/inbound';
import { judgeIn, type ReadWorld, type ReferenceVerdict } from '../reference/linear.js';
import { isAccepted, modeFor } from '../reference/peer-authentication.js';
import { Dice } from '../reference/random-values.js';
import { rulesFor, type RequestAuthentication } from '../reference/request-authentication.js';
import { readDocuments, type Document } from '../reference/world.js';
import { excuseOf } from './fuzz-excuses.js';
import { makeCase } from './fuzz-request.js';
import { harvest } from './fuzz-values.js';
import { makeWorld, type FuzzCase, type FuzzWorld, type RecordedWorld } from './fuzz-world.js';

/** How the cases fell. */
export interface FuzzTally {
  worlds: number;
  cases: number;
  /** By outcome and status of the reference. */
  readonly verdicts: Record<string, number>;
  /** How often each excuse was taken. */
  readonly excused: Record<string, number>;
}

/** A case on which door and reference part without an excuse. */
export interface FuzzFinding {
  readonly seed: number;
  readonly ours: Comparable;
  readonly reference: Comparable;
  readonly refusal: unknown;
  readonly world: FuzzWorld;
  readonly case: FuzzCase;
}

export const createFuzzTally = (): FuzzTally => ({ worlds: 0, cases: 0, verdicts: {}, excused: {} });

/** Both sides of a world, ready to be asked. */
interface Sides {
  readonly world: FuzzWorld;
  readonly resources: MeshResources;
  readonly evaluator: Evaluator;
  readonly reference: ReadWorld;
}

const text = (document: object): string => JSON.stringify(document);

/** Leaves out the documents that validation refuses; undefined when what remains is refused as a whole. */
function admit(world: FuzzWorld): { readonly resources: MeshResources; readonly world: FuzzWorld } | undefined {
  let { documents } = world;
  for (let turn = 0; turn < 4; turn += 1) {
    const files: ConfigFile[] = [
      { name: 'mesh', text: JSON.stringify(world.mesh), meshConfig: true },
      ...documents.map((document, index) => ({ name: `d${index}`, text: text(document) })),
    ];
    const { resources, problems } = validateDocuments(files);
    if (resources !== undefined) return { resources, world: { ...world, documents } };
    const bad = new Set(problems.filter(({ level }) => level === 'error').map(({ file }) => file));
    if (bad.has('mesh')) return undefined;
    documents = documents.filter((_, index) => !bad.has(`d${index}`));
  }
  return undefined;
}

function sidesOf(given: FuzzWorld): Sides | undefined {
  const admitted = admit(given);
  if (admitted === undefined) return undefined;
  const { resources, world } = admitted;
  try {
    const evaluator = createEvaluator({ snapshot: compileSnapshot(resources, world.workload, 1) });
    const documents = readDocuments(world.documents.map(text).join('\n---\n'));
    return { world, resources, evaluator, reference: { workload: world.workload, mesh: world.mesh, documents } };
  } catch {
    // A key set without a key that is safe.
    return undefined;
  }
}

const notCompared = /^(x-request-id|x-envoy-.*|x-forwarded-proto|x-forwarded-client-cert|connection|keep-alive)$/;

/** What both sides are compared by. */
export interface Comparable {
  readonly outcome: string;
  readonly status?: number | undefined;
  readonly body?: string | undefined;
  readonly policy?: string | undefined;
  readonly rule?: number | undefined;
  readonly audit?: boolean | undefined;
  readonly dryRun?: unknown;
  readonly path?: string | undefined;
  readonly headers?: Readonly<Record<string, readonly string[]>> | undefined;
  readonly certificate?: string | undefined;
}

const bodyOf = (body: string | undefined, status: number | undefined, { request }: FuzzCase): string | undefined =>
  (status === 401 || status === 403) && request.method !== 'HEAD' ? body : undefined;

function ofReference(
  { outcome, status, body, policy, rule, audit, dryRun, upstream }: ReferenceVerdict,
  one: FuzzCase,
): Comparable {
  const headers: Record<string, string[]> = {};
  for (const [name, value] of upstream?.lines ?? []) if (!notCompared.test(name)) (headers[name] ??= []).push(value);
  return {
    outcome,
    status,
    body: bodyOf(body, status, one),
    policy,
    rule,
    audit,
    dryRun,
    path: upstream?.path,
    headers: upstream && headers,
    certificate: upstream?.lines.find(([name]) => name === 'x-forwarded-client-cert')?.[1],
  };
}

function ofOurs({ verdict }: Evaluation, one: FuzzCase): Comparable {
  const { outcome, status, body, policy, rule, audit, dryRun, upstream } = verdict;
  return {
    outcome,
    status,
    body: bodyOf(body, status, one),
    policy,
    rule,
    audit,
    dryRun,
    path: upstream?.path,
    headers: upstream && { ...upstream.headers },
    certificate: upstream?.forwardedClientCert,
  };
}

const differs = (ours: Comparable, reference: Comparable): boolean => !isDeepStrictEqual(ours, reference);

/** Asks both sides of a case: undefined when they agree, an excuse, or what parts them. */
function compare({ world, evaluator, reference }: Sides, one: FuzzCase, tally: FuzzTally): Omit<FuzzFinding, 'seed'> | undefined {
  const now = Date.now();
  const judged = judgeIn(reference, one.connection, one.request, now);
  const theirs = ofReference(judged, one);
  const evaluated = evaluator.evaluate(one.connection, one.request) as Evaluation;
  const ours = ofOurs(evaluated, one);
  tally.cases += 1;
  const kind = `${theirs.outcome} ${theirs.status ?? ''}`.trim();
  tally.verdicts[kind] = (tally.verdicts[kind] ?? 0) + 1;
  if (!differs(ours, theirs)) return undefined;
  const cautious = (): Comparable => ofReference(judgeIn(reference, one.connection, one.request, now, true), one);
  const excuse = excuseOf({ one, reference, ours, theirs, cautious, code: evaluated.refusal?.code, said: judged.body });
  if (excuse !== undefined) {
    tally.excused[excuse] = (tally.excused[excuse] ?? 0) + 1;
    return undefined;
  }
  return { ours, reference: theirs, refusal: evaluated.refusal, world, case: one };
}

/** Leaves documents and rules out for as long as the two sides still disagree. */
function shrink(found: Omit<FuzzFinding, 'seed'>): Omit<FuzzFinding, 'seed'> {
  const { world } = found;
  for (const index of world.documents.keys()) {
    const sides = sidesOf({ ...world, documents: world.documents.toSpliced(index, 1) });
    const still = sides && compare(sides, found.case, createFuzzTally());
    if (still !== undefined) return shrink(still);
  }
  for (const index of found.case.request.headers.keys()) {
    const sides = sidesOf(world);
    const headers = found.case.request.headers.toSpliced(index, 1);
    const still = sides && compare(sides, { ...found.case, request: { ...found.case.request, headers } }, createFuzzTally());
    if (still !== undefined) return shrink(still);
  }
  return found;
}

/** The world of a seed, and where its requests come from; undefined where the world is refused. */
export function openSeed(seed: number, recorded: readonly RecordedWorld[]): (Sides & { next(): FuzzCase }) | undefined {
  const dice = new Dice(seed);
  const sides = sidesOf(makeWorld(dice, recorded));
  if (sides === undefined) return undefined;
  const { world, reference } = sides;
  const rules = rulesFor(reference.documents as readonly Document<RequestAuthentication>[], world.workload, world.mesh);
  const ground = { world, values: harvest(world.documents), rules, recorded };
  const isClosed = ({ connection }: FuzzCase): boolean =>
    !isAccepted(
      modeFor(reference.documents as never, world.workload, world.mesh, connection.destinationPort),
      connection,
      world.mesh,
    );
  const next = (): FuzzCase => {
    let one = makeCase(dice, ground);
    // A connection that is refused tells nothing of the rest.
    for (let again = 0; again < 3 && isClosed(one); again += 1) one = makeCase(dice, ground);
    return one;
  };
  return { ...sides, next };
}

/** Asks both sides about the requests of a seed's world; the first disagreement, made small. */
function fuzzSeed(seed: number, recorded: readonly RecordedWorld[], tally: FuzzTally): FuzzFinding | undefined {
  const open = openSeed(seed, recorded);
  if (open === undefined) return undefined;
  tally.worlds += 1;
  for (let turn = 0; turn < 60; turn += 1) {
    const found = compare(open, open.next(), tally);
    if (found !== undefined) return { seed, ...shrink(found) };
  }
  return undefined;
}

/** Asks about the worlds of one seed after the other from `first` on until `cases` are asked; up to eight disagreements. */
export function fuzzSeeds(o: { readonly first: number; readonly cases: number; readonly recorded: readonly RecordedWorld[] }): {
  readonly tally: FuzzTally;
  readonly findings: readonly FuzzFinding[];
} {
  const tally = createFuzzTally();
  const findings: FuzzFinding[] = [];
  for (let seed = o.first; tally.cases < o.cases && findings.length < 8; seed += 1) {
    const found = fuzzSeed(seed, o.recorded, tally);
    if (found !== undefined) findings.push(found);
  }
  return { tally, findings };
}

/** One line for people. */
export function formatFuzzTally({ worlds, cases, verdicts, excused }: FuzzTally): string {
  const list = (counts: Readonly<Record<string, number>>): string =>
    Object.entries(counts)
      .sort(([, a], [, b]) => b - a)
      .map(([name, count]) => `${count} ${name}`)
      .join('; ');
  const all = Object.values(excused).reduce((sum, count) => sum + count, 0);
  return `fidelity: ${cases} requests in ${worlds} worlds (${list(verdicts)}), ${cases - all} agree, ${all} excused (${list(excused)})`;
}

/** What parts the two, the world that shows it, and the request. Tokens are shown by their payload, key sets not at all. */
export function formatFinding({ seed, ours, reference, refusal, world, case: one }: FuzzFinding): string {
  const names = new Set([...Object.keys(ours), ...Object.keys(reference)] as (keyof Comparable)[]);
  const apart = [...names].filter((name) => !isDeepStrictEqual(ours[name], reference[name]));
  const of = (side: Comparable): string => JSON.stringify(Object.fromEntries(apart.map((name) => [name, side[name]])));
  return [`seed ${seed}`, `door ${of(ours)}`, `reference ${of(reference)}`, JSON.stringify({ refusal, world, one })]
    .join('\n')
    .replace(/eyJ[\w-]*\.(eyJ[\w-]*)\.[\w-]*/g, (_, payload: string) => `<${Buffer.from(payload, 'base64url').toString('utf8')}>`)
    .replace(/\{\\"keys.*?\]\}"/g, '"');
}

/** A case written down: documents, and what is sent. */
export interface WrittenCase {
  readonly world: FuzzWorld;
  readonly case: FuzzCase;
}

/** What both sides say of a case written down. */
export function askBoth(written: WrittenCase): { readonly ours: Comparable; readonly theirs: Comparable } {
  const sides = sidesOf(written.world);
  if (sides === undefined) throw new Error('the world is refused');
  const theirs = judgeIn(sides.reference, written.case.connection, written.case.request, Date.now());
  const ours = sides.evaluator.evaluate(written.case.connection, written.case.request) as Evaluation;
  return { ours: ofOurs(ours, written.case), theirs: ofReference(theirs, written.case) };
}
