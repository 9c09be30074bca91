import type { GivenConnection, GivenRequest } from '@enmesh/core/inbound';
import type { Workload } from '@enmesh/core/config';
import type { GivenWorld } from './world.js';

/** A line of `evaluate --stream` that is not of the format; the message says which member is wrong. */
export class FormatError extends Error {}

type Fields = Readonly<Record<string, unknown>>;

/** One question of a stream: a request at a door, the mode of a workload's port, or how a client reaches a destination. */
export type Question =
  | { readonly kind: 'request'; readonly connection: GivenConnection; readonly request: GivenRequest }
  | { readonly kind: 'mode'; readonly workload: Workload; readonly port: number }
  | {
      readonly kind: 'destination';
      readonly client: Workload;
      readonly host: string;
      readonly port: number;
      readonly subset?: string;
    };

/** Reads a `world` line. Throws {@link FormatError}. */
export function readWorldLine(line: Fields): GivenWorld {
  return {
    workload: line['workload'] === undefined ? undefined : workloadOf(line['workload'], 'workload'),
    mesh: line['mesh'] === undefined ? {} : fields(line['mesh'], 'mesh'),
    documents: text(line['documents'] ?? '', 'documents'),
  };
}

/** Reads a `case` line. Throws {@link FormatError}. */
export function readQuestion(line: Fields): Question {
  if (line['mode'] !== undefined) {
    const mode = fields(line['mode'], 'mode');
    return { kind: 'mode', workload: workloadOf(mode['workload'], 'mode.workload'), port: port(mode['port'], 'mode.port') };
  }
  if (line['destination'] !== undefined) {
    const { host, port: number, subset } = fields(line['destination'], 'destination');
    return {
      kind: 'destination',
      client: workloadOf(line['client'], 'client'),
      host: text(host, 'destination.host'),
      port: port(number, 'destination.port'),
      ...(subset === undefined || subset === null ? {} : { subset: text(subset, 'destination.subset') }),
    };
  }
  return { kind: 'request', connection: connectionOf(line['connection']), request: requestOf(line['request']) };
}

function connectionOf(value: unknown): GivenConnection {
  const given = fields(value, 'connection');
  const { tls, sni, alpn, peer } = given;
  if (typeof tls !== 'boolean') throw new FormatError('connection.tls is not true or false');
  return {
    tls,
    ...(sni === undefined || sni === null ? {} : { sni: text(sni, 'connection.sni') }),
    ...(alpn === undefined || alpn === null
      ? {}
      : { alpn: list(alpn, 'connection.alpn').map((name) => text(name, 'connection.alpn')) }),
    ...(peer === undefined || peer === null ? {} : { peer: text(peer, 'connection.peer') }),
    sourceIp: text(given['sourceIp'], 'connection.sourceIp'),
    destinationIp: text(given['destinationIp'], 'connection.destinationIp'),
    destinationPort: port(given['destinationPort'], 'connection.destinationPort'),
  };
}

function requestOf(value: unknown): GivenRequest {
  const given = fields(value, 'request');
  return {
    method: text(given['method'], 'request.method'),
    target: text(given['target'], 'request.target'),
    headers: list(given['headers'] ?? [], 'request.headers').map((line) => {
      const [name, content] = list(line, 'request.headers');
      return [text(name, 'the name of a header'), text(content, 'the value of a header')];
    }),
    ...(given['body'] === undefined || given['body'] === null ? {} : { body: text(given['body'], 'request.body') }),
  };
}

function workloadOf(value: unknown, name: string): Workload {
  const { namespace, serviceAccount, labels } = fields(value, name);
  const entries = Object.entries(labels === undefined || labels === null ? {} : fields(labels, `${name}.labels`));
  return {
    namespace: text(namespace, `${name}.namespace`),
    serviceAccount: serviceAccount === undefined ? 'default' : text(serviceAccount, `${name}.serviceAccount`),
    labels: Object.fromEntries(entries.map(([key, label]) => [key, text(label, `${name}.labels`)])),
  };
}

/** An object of JSON. Throws {@link FormatError}. */
export function fields(value: unknown, name: string): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new FormatError(`${name} is not an object`);
  return value as Fields;
}

function list(value: unknown, name: string): readonly unknown[] {
  if (!Array.isArray(value)) throw new FormatError(`${name} is not a list`);
  return value;
}

function text(value: unknown, name: string): string {
  if (typeof value !== 'string') throw new FormatError(`${name} is not a string`);
  return value;
}

function port(value: unknown, name: string): number {
  if (!Number.isInteger(value) || (value as number) < 0 || (value as number) > 65_535)
    throw new FormatError(`${name} is not a port`);
  return value as number;
}
