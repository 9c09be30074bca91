import { isIP } from 'node:net';
import type { ReferenceConnection } from './peer-authentication.js';

/** A header line: its name in lower case, its value. */
export type Line = [name: string, value: string];

/** Lines of these names are one line before any filter (3.9). */
const joined =
  `accept, accept-encoding, access-control-request-headers, access-control-request-method, authorization, cache-control,
  content-encoding, content-type, expect, grpc-accept-encoding, grpc-timeout, host, if-match, if-modified-since, if-none-match, if-range, origin,
  pragma, referer, user-agent, via, x-client-trace-id, x-envoy-attempt-count, x-forwarded-for, x-forwarded-host, x-forwarded-port,
  x-forwarded-proto, x-request-id`
    .split(',')
    .map((name) => name.trim());

function joinLines(lines: readonly Line[]): Line[] {
  const out: Line[] = [];
  for (const [name, value] of lines) {
    const first = joined.includes(name) ? out.find(([other]) => other === name) : undefined;
    if (first === undefined) out.push([name, value]);
    else first[1] = [first[1], value].filter((part) => part !== '').join(',');
  }
  return out;
}

export const valuesOf = (lines: readonly Line[], name: string): string[] =>
  lines.filter(([other]) => other === name).map(([, value]) => value);

/** Takes every line of a name out of the list itself. */
export function removeLines(lines: Line[], name: string): void {
  const kept = lines.filter(([other]) => other !== name.toLowerCase());
  lines.splice(0, lines.length, ...kept);
}

/** A line as it stands in the request: what is before the first colon is the name. */
function readLine(line: string): Line {
  const colon = line.indexOf(':');
  return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).replace(/^[ \t]+|[ \t]+$/g, '')];
}

/** Of TE Envoy leaves `trailers` and nothing else. */
const hasTrailers = (value: string): boolean => value.split(',').some((item) => item.trim() === 'trailers');

/** Whether Envoy keeps a referer: text without a scheme, or a URL with a host (measured on Envoy 1.40). */
function isReferer(value: string): boolean {
  if (!/^[a-z][a-z0-9+.-]*:/i.test(value)) return true;
  return /^[a-z]+:\/\/[^/?#]/i.test(value) && URL.canParse(value);
}

/** The lines that filters see of those that were sent, on this connection to the workload `own` (3.9, 5.5). */
export function receivedLines(
  sent: readonly (readonly [string, string])[],
  connection: ReferenceConnection,
  own: string,
): Line[] {
  const lines = joinLines(sent.map(([name, value]) => readLine(`${name}: ${value}`)));
  const nominated = valuesOf(lines, 'connection').flatMap((value) => value.toLowerCase().split(','));
  const removed = [
    'connection',
    'keep-alive',
    'proxy-connection',
    'upgrade',
    'x-envoy-internal',
    // TE is judged by itself.
    ...nominated.map((name) => name.trim()).filter((name) => name !== 'te'),
  ];
  const kept = lines.filter(
    ([name, value]) =>
      !removed.includes(name) &&
      !(name === 'te' && !hasTrailers(value)) &&
      !(name === 'referer' && !isReferer(value)) &&
      !(name === 'x-forwarded-client-cert' && !connection.tls),
  );
  if (valuesOf(kept, 'te').length > 0) {
    removeLines(kept, 'te');
    kept.push(['te', 'trailers']);
  }
  if (connection.tls) {
    const before = valuesOf(kept, 'x-forwarded-client-cert');
    removeLines(kept, 'x-forwarded-client-cert');
    const element = `By=${own};Hash=*;Subject="";URI=${connection.peer ?? ''}`;
    kept.push(['x-forwarded-client-cert', [...before, element].join(',')]);
  }
  if (valuesOf(kept, 'x-forwarded-proto').length === 0) kept.push(['x-forwarded-proto', connection.tls ? 'https' : 'http']);
  if (valuesOf(kept, 'x-request-id').length === 0) kept.push(['x-request-id', 'any']);
  return kept;
}

/** `remote.ip` of a sidecar: the last element of x-forwarded-for if it is a bare address, else the peer's (3.6). */
export function remoteIp(lines: readonly Line[], sourceIp: string): string {
  const last = valuesOf(lines, 'x-forwarded-for').join(',').split(',').at(-1)?.trim() ?? '';
  return isIP(last) === 0 || last.includes('%') ? sourceIp : last;
}
