import { EnmeshError } from '@enmesh/core/issuance';

const prefix = 'CA_HEADER_';
const maxHeaders = 32;

/**
 * The further gRPC metadata: those of the settings, then `CA_HEADER_<name>` of the environment. Keys are lower-cased, as gRPC sends them.
 * Throws `ENMESH_ISSUANCE_SETTINGS_INVALID`, without quoting a value, for what no metadata can hold and for names that are spoken for.
 */
export function readHeaders(
  settings: Readonly<Record<string, string>> = {},
  env: NodeJS.ProcessEnv,
): Readonly<Record<string, string>> {
  const fromEnv = Object.entries(env).flatMap(([name, value]) =>
    name.startsWith(prefix) && value !== undefined ? [[name.slice(prefix.length), value] as const] : [],
  );
  const headers: Record<string, string> = {};
  for (const [name, value] of [...fromEnv, ...Object.entries(settings)]) headers[checkedName(name)] = checkedValue(name, value);
  if (Object.keys(headers).length > maxHeaders) throw invalid(`there are more than ${maxHeaders} headers for the CA`);
  return headers;
}

function checkedName(name: string): string {
  const key = name.toLowerCase();
  if (!/^[0-9a-z_.-]{1,128}$/.test(key) || key.endsWith('-bin'))
    throw invalid(`${JSON.stringify(name)} is no name of a header of text`);
  if (key === 'authorization' || key.startsWith('grpc-'))
    throw invalid(`the header ${key} cannot be given: a token stands in tokenFile`);
  return key;
}

function checkedValue(name: string, value: string): string {
  if (!/^[ -~]{0,8192}$/.test(value)) throw invalid(`the value of the header ${name} is not printable ASCII of at most 8 KiB`);
  return value;
}

const invalid = (reason: string): EnmeshError =>
  new EnmeshError('ENMESH_ISSUANCE_SETTINGS_INVALID', `Identity from Istio's CA cannot start: ${reason}`);
