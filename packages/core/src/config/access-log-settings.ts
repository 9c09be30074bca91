import { resolve } from 'node:path';
import { EnmeshError, isEnmeshError } from '../errors.js';
import { quote } from './problem.js';
import { parseServiceFile, type ServiceFile } from './service-file.js';
import type { AccessLogFields, AccessLogSettings } from './access-log-shape.js';

/** Where the access log of a mesh goes and what it holds; `file` is absolute. */
export interface AccessLogChoice {
  readonly to: 'stdout' | 'stderr' | { readonly file: string };
  readonly format: 'json' | 'istio' | 'istio-json';
  readonly filter: 'all' | 'refused';
  readonly calls: boolean;
}

/** What events of `enmesh:audit` may tell of users, and the access log; undefined: none is written. */
export interface AuditSettings {
  readonly accessLog: AccessLogChoice | undefined;
  readonly auditClaims: readonly string[];
}

const formats = ['json', 'istio', 'istio-json'] as const;

/**
 * Merges code, environment (`ENMESH_ACCESS_LOG`, `ENMESH_ACCESS_LOG_FORMAT`, `ENMESH_AUDIT_CLAIMS`) and enmesh.yaml, in this order of precedence; where the
 * environment names another target, what the file says of format and filter still holds. Throws `ENMESH_CONFIG_ACCESS_LOG` for a word of the environment
 * that is none, and `TypeError` for code.
 */
export function auditSettings(
  given: { readonly accessLog?: AccessLogSettings; readonly auditClaims?: readonly string[] },
  env: NodeJS.ProcessEnv,
  file: ServiceFile,
  base: string,
): AuditSettings {
  const code = checkedCode(given);
  const inFile = fieldsOf(file.accessLog);
  const fromCode = fieldsOf(code.accessLog);
  const fromEnv = fromCode === undefined ? fieldsOfEnv(env) : undefined;
  const fields = fromCode ?? (fromEnv === undefined ? inFile : merged(inFile, fromEnv));
  const claims = code.auditClaims ?? claimsOfEnv(env) ?? file.auditClaims ?? [];
  const isOfFile = fromCode === undefined && fromEnv?.to === undefined && fromEnv?.file === undefined;
  return { accessLog: fields && chosen(fields, isOfFile ? base : process.cwd()), auditClaims: [...new Set(claims)] };
}

/** Another target replaces the one of the file; a format alone leaves it. */
function merged(inFile: AccessLogFields | undefined, { to, file, format }: AccessLogFields): AccessLogFields | undefined {
  const { to: oldTo, file: oldFile, ...rest } = inFile ?? {};
  const target = to ?? (file === undefined ? oldTo : undefined);
  const path = to === undefined ? (file ?? oldFile) : undefined;
  if (target === undefined && path === undefined) return inFile;
  return { ...rest, ...(target && { to: target }), ...(path && { file: path }), ...(format && { format }) };
}

function chosen(fields: AccessLogFields, base: string): AccessLogChoice | undefined {
  const { to = 'stdout', file, format = 'json', filter = 'all', calls = true } = fields;
  if (file === undefined && to === 'off') return undefined;
  const target = file === undefined ? (to as 'stdout' | 'stderr') : { file: resolve(base, file) };
  return { to: target, format, filter, calls };
}

function fieldsOf(settings: AccessLogSettings | undefined): AccessLogFields | undefined {
  return typeof settings === 'string' ? { to: settings } : settings;
}

function fieldsOfEnv(env: NodeJS.ProcessEnv): AccessLogFields | undefined {
  const { ENMESH_ACCESS_LOG: target = '', ENMESH_ACCESS_LOG_FORMAT: word = '' } = env;
  const format = formats.find((one) => one === word);
  if (word !== '' && format === undefined) throw unknown('ENMESH_ACCESS_LOG_FORMAT', word, `one of ${formats.join(', ')}`);
  if (target === '') return format && { format };
  const form = format && { format };
  if (target === 'stdout' || target === 'stderr' || target === 'off') return { to: target, ...form };
  // A misspelt word must not become the name of a file.
  if (!/[/\\]/.test(target))
    throw unknown('ENMESH_ACCESS_LOG', target, 'stdout, stderr, off, or a path with a slash in it (./access.log)');
  return { file: target, ...form };
}

function claimsOfEnv({ ENMESH_AUDIT_CLAIMS: text = '' }: NodeJS.ProcessEnv): readonly string[] | undefined {
  const names = text
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
  return names.length === 0 ? undefined : names;
}

function unknown(where: string, word: string, known: string): EnmeshError {
  return new EnmeshError('ENMESH_CONFIG_ACCESS_LOG', `${where}: ${quote(word)} is none; it takes ${known}`);
}

/** Settings from code under the rules of the file: without TypeScript nobody else looks. */
function checkedCode(given: { readonly accessLog?: AccessLogSettings; readonly auditClaims?: readonly string[] }): typeof given {
  const { accessLog, auditClaims } = given;
  if (accessLog === undefined && auditClaims === undefined) return {};
  try {
    parseServiceFile(JSON.stringify({ accessLog, auditClaims }), 'createMesh');
    return given;
  } catch (cause) {
    if (!isEnmeshError(cause)) throw cause;
    throw new TypeError(cause.message.replace(/^createMesh:\d+:\d+ /gm, 'createMesh: '), { cause });
  }
}
