import type { ServerResponse } from 'node:http';
import type { HeaderLine } from '../custom/contract.js';

type WriteHead = (status: number, ...rest: unknown[]) => ServerResponse;

/** Adds header lines to an answer when its head is written, whatever the application has set by then. */
export function addResponseHeaders(response: ServerResponse, lines: readonly HeaderLine[]): void {
  if (lines.length === 0) return;
  const writeHead = response.writeHead.bind(response) as WriteHead;
  response.writeHead = ((status: number, ...rest: unknown[]) => {
    response.writeHead = writeHead as typeof response.writeHead;
    const reason = typeof rest[0] === 'string' ? [rest[0]] : [];
    if (!response.headersSent) {
      setHeaders(response, rest.at(-1));
      for (const [name, value] of lines) response.appendHeader(name, value);
    }
    return writeHead(status, ...reason);
  }) as typeof response.writeHead;
}

/** What was given to writeHead(): an object, a flat list, or a list of pairs. Like Node, a name given replaces what was set before. */
function setHeaders(response: ServerResponse, given: unknown): void {
  if (typeof given !== 'object' || given === null) return;
  if (!Array.isArray(given)) {
    for (const [name, value] of Object.entries(given)) if (value !== undefined) response.setHeader(name, value as string);
    return;
  }
  const flat = (Array.isArray(given[0]) ? given.flat() : given) as string[];
  for (let i = 0; i < flat.length; i += 2) response.removeHeader(String(flat[i]));
  for (let i = 0; i < flat.length; i += 2) response.appendHeader(String(flat[i]), String(flat[i + 1]));
}
