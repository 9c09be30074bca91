import { LineCounter, parseDocument, type Document } from 'yaml';
import type { Workload } from '@enmesh/core/config';
import type { GivenUser } from '../evaluate/user.js';
import { callerOf } from '../evaluate/request.js';
import { MisuseError } from '../output.js';

/** What a case demands of the verdict; an absent member demands nothing. */
export interface Expected {
  readonly outcome?: 'allowed' | 'denied' | 'closed';
  readonly status?: number;
  readonly policy?: string;
  readonly rule?: number;
  /** Must stand in the reason or be the error code. */
  readonly reason?: string;
}

/** One case of a `*.test.yaml`. */
export interface TestCase {
  readonly name: string;
  readonly line: number;
  readonly request: {
    readonly method: string;
    readonly path: string;
    readonly host: string;
    readonly headers: readonly string[];
  };
  /** SPIFFE ID of the caller; undefined for plaintext. */
  readonly caller: string | undefined;
  readonly user: GivenUser | undefined;
  readonly port: number;
  readonly sourceIp: string | undefined;
  readonly expected: Expected;
}

/**
 * A `*.test.yaml`: the workload whose door is asked, as a value or as the path of its `enmesh.yaml` relative to this file, and its cases. Undefined for the
 * workload of the nearest `enmesh.yaml`.
 */
export interface CaseFile {
  readonly file: string;
  readonly workload: Workload | string | undefined;
  readonly cases: readonly TestCase[];
}

type Fields = Readonly<Record<string, unknown>>;

/** Reads a `*.test.yaml`. Throws `MisuseError` with file and line. */
export function parseCaseFile(text: string, file: string): CaseFile {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, maxAliasCount: 0 } as Parameters<typeof parseDocument>[1]);
  const [error] = document.errors;
  if (error !== undefined)
    throw new MisuseError(`${file}:${lines.linePos(error.pos[0]).line}: ${error.message.split('\n', 1)[0]}`);
  const reader = createReader(file, document, lines);
  const { workload, port, cases } = reader.fields(document.toJS({ maxAliasCount: 0 }), ['workload', 'port', 'cases'], []);
  if (!Array.isArray(cases) || cases.length === 0) throw reader.wrong('cases is no list of cases', []);
  const defaults = { port: reader.port(port ?? 8080, ['port']) };
  return {
    file,
    workload: workload === undefined || typeof workload === 'string' ? workload : workloadOf(reader, workload),
    cases: cases.map((one, index) => caseOf(reader, one, index, defaults.port)),
  };
}

interface Reader {
  fields(value: unknown, known: readonly string[], path: Path): Fields;
  text(value: unknown, path: Path): string;
  port(value: unknown, path: Path): number;
  line(path: Path): number;
  wrong(message: string, path: Path): MisuseError;
}

type Path = readonly (string | number)[];

function createReader(file: string, document: Document, lines: LineCounter): Reader {
  const line = (path: Path): number => {
    for (let length = path.length; length > 0; length -= 1) {
      const node = document.getIn(path.slice(0, length), true) as { readonly range?: readonly number[] } | undefined;
      if (node?.range !== undefined) return lines.linePos(node.range[0] ?? 0).line;
    }
    return 1;
  };
  const wrong = (message: string, path: Path): MisuseError => new MisuseError(`${file}:${line(path)}: ${message}`);
  return {
    line,
    wrong,
    fields(value, known, path) {
      if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrong(`${nameOf(path)} is no map`, path);
      for (const name of Object.keys(value))
        if (!known.includes(name))
          throw wrong(`${nameOf(path)} has no field ${JSON.stringify(name)}; it has ${known.join(', ')}`, [...path, name]);
      return value as Fields;
    },
    text(value, path) {
      if (typeof value !== 'string' || value === '') throw wrong(`${nameOf(path)} is no text`, path);
      return value;
    },
    port(value, path) {
      if (!Number.isInteger(value) || (value as number) < 1 || (value as number) > 65_535)
        throw wrong(`${nameOf(path)} is no port`, path);
      return value as number;
    },
  };
}

const nameOf = (path: Path): string =>
  path.length === 0
    ? 'the file'
    : path
        .map((step) => (typeof step === 'number' ? `[${step}]` : step))
        .join('.')
        .replaceAll('.[', '[');

/** What `--as` takes. */
function uriOf(reader: Reader, value: unknown, path: Path): string {
  const text = reader.text(value, path);
  try {
    return callerOf(text);
  } catch (error) {
    throw error instanceof MisuseError ? reader.wrong(`${nameOf(path)}: ${error.message}`, path) : error;
  }
}

function workloadOf(reader: Reader, value: unknown): Workload {
  const path = ['workload'];
  const { namespace, serviceAccount, labels = {} } = reader.fields(value, ['namespace', 'serviceAccount', 'labels'], path);
  if (typeof labels !== 'object' || labels === null) throw reader.wrong('workload.labels is no map', [...path, 'labels']);
  const entries = Object.entries(labels).map(([name, label]) => [name, reader.text(label, [...path, 'labels', name])]);
  return {
    namespace: reader.text(namespace, [...path, 'namespace']),
    serviceAccount: serviceAccount === undefined ? 'default' : reader.text(serviceAccount, [...path, 'serviceAccount']),
    labels: Object.fromEntries(entries) as Record<string, string>,
  };
}

function caseOf(reader: Reader, value: unknown, index: number, filePort: number): TestCase {
  const path: Path = ['cases', index];
  const given = reader.fields(value, ['name', 'request', 'caller', 'user', 'port', 'sourceIp', 'expect'], path);
  const request = requestOf(reader, given['request'], [...path, 'request']);
  const { caller, user, port, sourceIp } = given;
  return {
    name: given['name'] === undefined ? `${request.method} ${request.path}` : reader.text(given['name'], [...path, 'name']),
    line: reader.line(path),
    request,
    caller: caller === undefined || caller === null ? undefined : uriOf(reader, caller, [...path, 'caller']),
    user: user === undefined || user === null ? undefined : userOf(reader, user, [...path, 'user']),
    port: port === undefined ? filePort : reader.port(port, [...path, 'port']),
    sourceIp: sourceIp === undefined ? undefined : reader.text(sourceIp, [...path, 'sourceIp']),
    expected: expectedOf(reader, given['expect'], [...path, 'expect']),
  };
}

/** `GET /items`, or a map. */
function requestOf(reader: Reader, value: unknown, path: Path): TestCase['request'] {
  if (typeof value === 'string') {
    const [, method = 'GET', target] = /^(?:([A-Z-]+) )?(\/\S*|\*)$/.exec(value) ?? [];
    if (target === undefined) throw reader.wrong(`${nameOf(path)} is no request such as "GET /items"`, path);
    return { method, path: target, host: 'localhost', headers: [] };
  }
  const given = reader.fields(value, ['method', 'path', 'host', 'headers'], path);
  const { method = 'GET', path: target = '/', host = 'localhost', headers = {} } = given;
  if (typeof headers !== 'object' || headers === null)
    throw reader.wrong(`${nameOf(path)}.headers is no map`, [...path, 'headers']);
  const lines = Object.entries(headers).flatMap(([name, values]) =>
    (Array.isArray(values) ? values : [values]).map((one) => `${name}: ${reader.text(one, [...path, 'headers', name])}`),
  );
  return {
    method: reader.text(method, [...path, 'method']),
    path: reader.text(target, [...path, 'path']),
    host: reader.text(host, [...path, 'host']),
    headers: lines,
  };
}

function userOf(reader: Reader, value: unknown, path: Path): GivenUser {
  const { issuer, subject, audiences, claims } = reader.fields(value, ['issuer', 'subject', 'audiences', 'claims'], path);
  if (claims !== undefined && (typeof claims !== 'object' || claims === null))
    throw reader.wrong(`${nameOf(path)}.claims is no map`, [...path, 'claims']);
  const list = audiences === undefined ? undefined : Array.isArray(audiences) ? (audiences as unknown[]) : [audiences];
  return {
    issuer: reader.text(issuer, [...path, 'issuer']),
    ...(subject === undefined ? {} : { subject: reader.text(subject, [...path, 'subject']) }),
    ...(list === undefined ? {} : { audiences: list.map((one) => reader.text(one, [...path, 'audiences'])) }),
    ...(claims === undefined ? {} : { claims: claims as Fields }),
  };
}

/** `allowed`, `denied`, `closed`, a status, or a map. */
function expectedOf(reader: Reader, value: unknown, path: Path): Expected {
  const outcomes = ['allowed', 'denied', 'closed'] as const;
  const outcomeOf = (given: unknown, at: Path): (typeof outcomes)[number] => {
    const outcome = outcomes.find((one) => one === given);
    if (outcome === undefined) throw reader.wrong(`${nameOf(at)} is none of ${outcomes.join(', ')}`, at);
    return outcome;
  };
  if (typeof value === 'number') return { outcome: 'denied', status: value };
  if (typeof value === 'string') return { outcome: outcomeOf(value, path) };
  const { outcome, status, policy, rule, reason } = reader.fields(value, ['outcome', 'status', 'policy', 'rule', 'reason'], path);
  for (const [name, number] of Object.entries({ status, rule }))
    if (number !== undefined && !Number.isInteger(number))
      throw reader.wrong(`${nameOf(path)}.${name} is no number`, [...path, name]);
  return {
    ...(outcome === undefined ? {} : { outcome: outcomeOf(outcome, [...path, 'outcome']) }),
    ...(status === undefined ? {} : { status: status as number }),
    ...(policy === undefined ? {} : { policy: reader.text(policy, [...path, 'policy']) }),
    ...(rule === undefined ? {} : { rule: rule as number }),
    ...(reason === undefined ? {} : { reason: reader.text(reason, [...path, 'reason']) }),
  };
}
