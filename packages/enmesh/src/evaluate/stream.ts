import { isUtf8 } from 'node:buffer';
import type { Readable } from 'node:stream';
import { acceptSettings, compileSnapshot, compileTlsModes, type MeshResources, type Workload } from '@enmesh/core/config';
import { createEvaluator, type Evaluator, type GivenRequest, type RequestVerdict } from '@enmesh/core/inbound';
import { resolveDestination } from '@enmesh/core/outbound';
import { readLines } from '../lines.js';
import { lineLimit } from '../validate/stream.js';
import { fields, FormatError, readQuestion, readWorldLine, type Question } from './questions.js';
import { readWorld } from './world.js';

/** The answer to a question, or why there is none. A destination that enmesh refuses to call has `refused` beside the verdict. */
export interface StreamAnswer {
  readonly case: unknown;
  readonly verdict?: object;
  readonly refused?: object;
  readonly error?: string;
}

/** The world that holds for the lines after it; a sentence where there is none that could be asked. */
type Standing = string | { readonly resources: MeshResources; readonly workload: Workload | undefined; evaluator?: Evaluator };

/**
 * Answers a stream of NDJSON: a `world` line sets configuration and workload, each `case` line is answered by exactly one line through `write`, in
 * order. Of a world that is refused every case gets `{"case", "error"}`. One world is held at a time, so memory does not grow.
 */
export async function answerCases(input: Readable, write: (text: string) => Promise<void>): Promise<void> {
  let world: Standing = 'no world line came before this case';
  for await (const bytes of readLines(input, lineLimit)) {
    const line = readLine(bytes);
    if (line === undefined) continue;
    if (line.kind === 'world') {
      world = standingOf(line.fields);
    } else if (line.kind === 'case') {
      await write(`${JSON.stringify(await answer(line.fields, world))}\n`);
    } else {
      // A line that was not kept may have been a world: what follows must not be judged by the one before.
      if (line.was !== 'case') world = `the world line before this case is ${line.error}`;
      if (line.was !== 'world') await write(`${JSON.stringify({ case: null, error: `the line is ${line.error}` })}\n`);
    }
  }
}

type Line =
  | { readonly kind: 'world'; readonly fields: Readonly<Record<string, unknown>> }
  | { readonly kind: 'case'; readonly fields: Readonly<Record<string, unknown>> }
  | { readonly kind: 'bad'; readonly error: string; readonly was: 'world' | 'case' | 'unknown' };

function readLine(bytes: Buffer | undefined): Line | undefined {
  if (bytes === undefined) return { kind: 'bad', was: 'unknown', error: `longer than ${lineLimit / 1024 / 1024} MiB` };
  const was = looksLikeWorld(bytes) ? 'world' : 'case';
  if (!isUtf8(bytes)) return { kind: 'bad', was, error: 'not UTF-8' };
  const text = bytes.toString('utf8').trim();
  if (text === '') return undefined;
  try {
    const value = fields(JSON.parse(text), 'the line');
    return { kind: 'world' in value ? 'world' : 'case', fields: value };
  } catch {
    return { kind: 'bad', was, error: 'no JSON object' };
  }
}

function looksLikeWorld(bytes: Buffer): boolean {
  return /^\s*\{\s*"world"/.test(bytes.subarray(0, 64).toString('latin1'));
}

function standingOf(line: Readonly<Record<string, unknown>>): Standing {
  try {
    const given = readWorldLine(line);
    const resources = readWorld(given);
    return typeof resources === 'string' ? resources : { resources, workload: given.workload };
  } catch (error) {
    return sentenceOf(error);
  }
}

function sentenceOf(error: unknown): string {
  return error instanceof Error ? error.message : 'it cannot be decided';
}

async function answer(line: Readonly<Record<string, unknown>>, world: Standing): Promise<StreamAnswer> {
  const name = line['case'] ?? null;
  if (typeof world === 'string') return { case: name, error: world };
  try {
    const question = readQuestion(line);
    if (question.kind === 'mode') return { case: name, verdict: modeOf(question, world.resources) };
    if (question.kind === 'destination') return { case: name, ...destinationOf(question, world.resources) };
    world.evaluator ??= evaluatorOf(world.resources, world.workload);
    const { verdict } = await world.evaluator.evaluate(question.connection, question.request);
    return { case: name, verdict: asFramedBySidecar(verdict, question.request) };
  } catch (error) {
    return { case: name, error: sentenceOf(error) };
  }
}

function evaluatorOf(resources: MeshResources, workload: Workload | undefined): Evaluator {
  if (workload === undefined) throw new FormatError('the world names no workload');
  return createEvaluator({ snapshot: compileSnapshot(resources, workload, 1) });
}

/** The format's upstream is what stands behind a sidecar, whose HTTP/1 codec frames every request that may have a body and has none. */
function asFramedBySidecar(verdict: RequestVerdict, request: GivenRequest): RequestVerdict {
  const { upstream } = verdict;
  if (upstream === undefined || ['GET', 'HEAD', 'DELETE', 'CONNECT', 'TRACE'].includes(request.method)) return verdict;
  if ('content-length' in upstream.headers || 'transfer-encoding' in upstream.headers) return verdict;
  return { ...verdict, upstream: { ...upstream, headers: { ...upstream.headers, 'content-length': ['0'] } } };
}

/** The mode of a workload's port in the form of the stream: with the least TLS version and the beginnings of admitted SANs. */
function modeOf({ workload, port }: Extract<Question, { kind: 'mode' }>, { peerAuthentications, mesh }: MeshResources): object {
  const mode = compileTlsModes(peerAuthentications, workload, mesh.rootNamespace).modeFor(port);
  if (mode === 'DISABLE') return { mode };
  const { minVersion, trustDomains } = acceptSettings({ mode, mesh });
  return {
    mode,
    minVersion: minVersion.replace('.', '_'),
    clientPrefixes: trustDomains.map((trustDomain) => `spiffe://${trustDomain}/`),
  };
}

function destinationOf(
  { client, host, port, subset }: Extract<Question, { kind: 'destination' }>,
  { registry, mesh }: MeshResources,
): Pick<StreamAnswer, 'verdict' | 'refused'> {
  const { refused, ...verdict } = resolveDestination({ registry, mesh }, { client, host, port, subset });
  return { verdict, ...(refused && { refused }) };
}
