import { isIP } from 'node:net';

/**
 * The names whose lines Envoy joins with `,` before any filter looks at them (istio-semantics 3.9, measured): a policy sees one line `a,b`
 * of them, so neither `a` nor `b` matches exactly. In lower case.
 */
export const joinedHeaders: ReadonlySet<string> = new Set([
  'accept',
  'accept-encoding',
  'access-control-request-headers',
  'access-control-request-method',
  'authorization',
  'cache-control',
  'content-encoding',
  'content-type',
  'expect',
  'grpc-accept-encoding',
  'grpc-timeout',
  'host',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'origin',
  'pragma',
  'referer',
  'user-agent',
  'via',
  'x-client-trace-id',
  'x-envoy-attempt-count',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-port',
  'x-forwarded-proto',
  'x-request-id',
]);

/**
 * The lines of the header `name` (in lower case) as policies see them (istio-semantics 3.9): undefined when absent, else one string per line,
 * the lines of {@link joinedHeaders} joined into one, empty ones left out. `raw` is Node's `rawHeaders`: names and values in turn, as sent.
 */
export function headerLines(raw: readonly string[], name: string): readonly string[] | undefined {
  let lines: string[] | undefined;
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const candidate = raw[at] as string;
    if (candidate.length !== name.length || (candidate !== name && candidate.toLowerCase() !== name)) continue;
    const value = raw[at + 1] as string;
    if (lines === undefined) lines = [value];
    else lines.push(value);
  }
  if (lines === undefined || lines.length === 1 || !joinedHeaders.has(name)) return lines;
  return [lines.filter((line) => line !== '').join(',')];
}

/**
 * The client's address as a sidecar reads it (istio-semantics 3.6): the last element of x-forwarded-for when that is a bare IP address, else
 * `sourceIp`. No element before the last counts, and an IPv4-mapped address stays IPv6. A client can choose this value unless the hop before
 * writes the header.
 */
export function remoteAddress(xForwardedFor: readonly string[] | undefined, sourceIp: string): string {
  const line = xForwardedFor?.findLast((value) => value !== '');
  if (line === undefined) return sourceIp;
  const last = line.slice(line.lastIndexOf(',') + 1).trim();
  return last.includes('%') || isIP(last) === 0 ? sourceIp : last;
}

/** A header value without the blanks and tabs around it, which are no part of it on the wire (RFC 9110 section 5.5). */
export function trimBlanks(value: string): string {
  let start = 0;
  let end = value.length;
  while (start < end && isBlank(value.charCodeAt(start))) start += 1;
  while (end > start && isBlank(value.charCodeAt(end - 1))) end -= 1;
  return start === 0 && end === value.length ? value : value.slice(start, end);
}

const isBlank = (code: number): boolean => code === 0x20 || code === 0x09;
