import type { Command } from 'commander';
import { compileSnapshot } from '@enmesh/core/config';
import { createEvaluator, type Evaluation } from '@enmesh/core/inbound';
import { MisuseError } from '../output.js';
import { readSingle } from '../validate/inputs.js';
import { readConfiguration, withKeys, type Configuration, type ConfigurationOptions } from './configuration.js';
import { askedBy, type Asked, type RequestOptions } from './request.js';
import { createStandInKeys } from './user.js';

/** Flags of a question about one request, as commander gives them. */
export interface AskOptions extends ConfigurationOptions, Omit<RequestOptions, 'url'> {
  readonly user?: string;
  readonly claims?: string;
  readonly jwks?: readonly string[];
}

const collect = (value: string, before: readonly string[] = []): readonly string[] => [...before, value];

/** Adds to a command the argument and the flags that tell a request. */
export function withRequestFlags(command: Command): Command {
  return command
    .argument('[url]', 'what is called: http://product.shop/items, or /items')
    .option('--config <dir>', 'configuration directory (default: what the workload file says)')
    .option('--workload <file>', 'the workload that is called (default: ./enmesh.yaml)')
    .option('--as <spiffe-id>', 'the caller, over mutual TLS (spiffe:// may be left out); without it the call is plaintext')
    .option('-X, --method <method>', 'request method')
    .option('--path <target>', 'request target exactly as sent, with its query')
    .option('-H, --header <line>', "a header line, 'name: value'; may be repeated", collect)
    .option('--host <host>', 'the Host header')
    .option('--token <jwt>', 'sent as authorization: Bearer')
    .option('--user <issuer/subject>', 'an end user; a token is made for it and its issuer trusted')
    .option('--claims <json>', 'further claims of --user, a JSON object')
    .option('--jwks <issuer=file>', 'the keys of an issuer, in place of what would be fetched; may be repeated', collect)
    .option('--port <number>', "the workload's own port", portOf, 8080)
    .option('--source-ip <address>', 'address of the caller', '127.0.0.1')
    .option('--destination-ip <address>', 'address of the workload', '127.0.0.1')
    .option('--sni <name>', 'TLS server name')
    .option('--alpn <name>', 'an ALPN name the client offers; may be repeated', collect)
    .option('--curl <line>', 'the request as a curl command line: --curl "curl -X POST http://product.shop/items"');
}

function portOf(text: string): number {
  const port = Number(text);
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw new MisuseError(`--port ${text} is no port`);
  return port;
}

/** A question with its answer. */
export interface Answered {
  readonly configuration: Configuration;
  readonly asked: Asked;
  readonly evaluation: Evaluation;
}

/** Asks the door of the workload that the flags name. Throws `MisuseError` for what is wrong with the question. */
export async function ask(url: string | undefined, options: AskOptions): Promise<Answered> {
  const configuration = await readConfiguration(options);
  const { workload, service } = configuration;
  const asked = askedBy({ ...options, ...(url === undefined ? {} : { url }) });
  const files = await keyFiles(options.jwks ?? []);
  let resources = withKeys(configuration.resources, (issuer) => files.get(issuer));
  let { request } = asked;
  if (options.user !== undefined) {
    const user = userOf(options.user, options.claims);
    const keys = createStandInKeys();
    resources = keys.trustedBy(resources, new Set([user.issuer]));
    request = keys.carry(user, request, resources, workload);
  }
  const snapshot = compileSnapshot(resources, workload, 1);
  const { permissiveAnyAlpn = false } = service;
  const evaluation = await createEvaluator({ snapshot, permissiveAnyAlpn }).evaluate(asked.connection, request);
  return { configuration, asked: { ...asked, request }, evaluation };
}

function userOf(text: string, claims: string | undefined): { issuer: string; subject: string; claims: Record<string, unknown> } {
  const at = text.lastIndexOf('/');
  if (at <= 0) throw new MisuseError('--user is <issuer>/<subject>, as in requestPrincipals');
  return { issuer: text.slice(0, at), subject: text.slice(at + 1), claims: claimsOf(claims) };
}

function claimsOf(text: string | undefined): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text ?? '{}');
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // Said below.
  }
  throw new MisuseError('--claims is no JSON object');
}

async function keyFiles(given: readonly string[]): Promise<ReadonlyMap<string, string>> {
  const files = new Map<string, string>();
  for (const item of given) {
    // Issuers may hold `=`; file names hardly do.
    const at = item.lastIndexOf('=');
    if (at <= 0) throw new MisuseError('--jwks is <issuer>=<file>');
    files.set(item.slice(0, at), await readSingle(item.slice(at + 1)));
  }
  return files;
}
