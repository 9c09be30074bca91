import { isUtf8 } from 'node:buffer';
import { METHODS } from 'node:http';
import { trimBlanks } from '../request/header-lines.js';

const methods: ReadonlySet<string> = new Set(METHODS);
const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const noValue = /[\u0000-\u0008\u000a-\u001f\u007f]/;
const noTarget = /[\u0000-\u0020\u007f]/;

/** A request as it stands on the wire: method and target of the request line, header lines in order with duplicates. */
export interface GivenRequest {
  readonly method: string;
  readonly target: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body?: string;
}

/** What Node's HTTP parser makes of a request; text has one character for each byte, as there. */
export interface ParsedRequest {
  readonly method: string;
  readonly target: string;
  /** As `rawHeaders`: name, value, name, value. */
  readonly lines: string[];
}

/**
 * Reads a request as Node's HTTP parser would (RFC 9112 sections 2 to 6). A string is why the parser answers 400 before any door: of framing and
 * characters alone, for the form of the target is the door's to judge.
 */
export function parseGivenRequest(given: GivenRequest): ParsedRequest | string {
  // llhttp passes over further spaces behind the method, and over no other white space.
  const method = given.method.replace(/ +$/, '');
  if (!methods.has(method)) return 'the method is none that the HTTP parser knows';
  const target = wireText(given.target);
  if (target === '' || noTarget.test(target)) return 'the target holds white space or control characters';
  const lines = given.headers.flatMap(readLine);
  return linesProblem(lines) ?? { method, target, lines };
}

/** A line ends its name at the first colon, wherever the given name did. */
function readLine([name, value]: readonly [string, string]): [string, string] {
  const line = `${name}: ${value}`;
  const at = line.indexOf(':');
  return [line.slice(0, at), wireText(trimBlanks(line.slice(at + 1)))];
}

function linesProblem(lines: readonly string[]): string | undefined {
  let hosts = 0;
  let lengths = 0;
  let isChunked = false;
  for (let at = 0; at + 1 < lines.length; at += 2) {
    const [name, value] = [lines[at] as string, lines[at + 1] as string];
    if (!token.test(name)) return 'a header has a name that is no token';
    if (noValue.test(value)) return 'a header value holds control characters';
    const lower = name.toLowerCase();
    if (lower === 'host') hosts += 1;
    if (lower === 'transfer-encoding') isChunked = true;
    if (lower === 'content-length') {
      lengths += 1;
      if (lengths > 1 || !/^\d{1,15}$/.test(value)) return 'content-length is no single number';
    }
  }
  if (hosts === 0) return 'there is no Host header';
  return isChunked && lengths > 0 ? 'content-length stands beside transfer-encoding' : undefined;
}

function wireText(text: string): string {
  return isAscii(text) ? text : Buffer.from(text, 'utf8').toString('latin1');
}

/** Text of the parser as UTF-8, where its bytes are that. */
export function readText(text: string): string {
  if (isAscii(text) || /[^\u0000-\u00ff]/.test(text)) return text;
  const bytes = Buffer.from(text, 'latin1');
  return isUtf8(bytes) ? bytes.toString('utf8') : text;
}

function isAscii(text: string): boolean {
  return !/[^\u0000-\u007f]/.test(text);
}
