import type { RequestAttributes } from '../request/attributes.js';
import { trimBlanks } from '../request/header-lines.js';
import { compileText, type TextMatcher } from './match.js';

/** Header values reach us as Node gives them, one character a byte; policy values are text. */
export function asHeaderBytes(value: string): string {
  return Buffer.from(value, 'utf8').toString('latin1');
}

/** Whether an item of the line does, or the line without the blanks around it that an output header of a claim may have. */
function matchesItem(line: string, matches: TextMatcher): boolean {
  let comma = line.indexOf(',');
  if (comma === -1) {
    const bare = trimBlanks(line);
    return bare !== line && matches(bare);
  }
  let tried: string | undefined;
  for (let from = 0; from <= line.length;) {
    const item = line.slice(from, comma).trim();
    // A line may repeat one item thousands of times.
    if (item !== tried && matches(item)) return true;
    tried = item;
    from = comma + 1;
    comma = line.indexOf(',', from);
    if (comma === -1) comma = line.length;
  }
  return false;
}

/**
 * Values of `request.headers[name]` (istio-semantics 3.9): any line may match; `*` asks for presence only. Where a doubtful match refuses
 * (`cautious`), each comma-separated item of a line is tried too: applications read a list whether it came in one line or in several.
 */
export function compileHeader(
  name: string,
  values: readonly string[],
  cautious: boolean,
): (request: RequestAttributes) => boolean {
  const matches = compileText(values.map(asHeaderBytes), 'present');
  const header = name.toLowerCase();
  return (request) => {
    const lines = request.header(header);
    if (lines === undefined) return false;
    for (const line of lines) if (matches(line) || (cautious && matchesItem(line, matches))) return true;
    return false;
  };
}

/**
 * Values of `request.headers[:path]`, which is path and query. Where a doubtful match refuses, every spelling of the route counts as in
 * `paths` (security rule 3).
 */
export function compilePathHeader(values: readonly string[], cautious: boolean): (request: RequestAttributes) => boolean {
  const matches = compileText(values, 'present');
  const folded = compileText(
    values.map((value) => value.toLowerCase()),
    'present',
  );
  return (request) => {
    const line = request.header(':path')?.[0];
    if (line === undefined) return false;
    if (matches(line)) return true;
    if (!cautious) return false;
    const ignoresCase = request.pathIgnoresCase;
    if (ignoresCase && folded(line.toLowerCase())) return true;
    const query = line.startsWith(request.path) ? line.slice(request.path.length) : '';
    for (const spelling of request.pathSpellings) {
      const text = spelling + query;
      if (matches(text) || (ignoresCase && folded(text.toLowerCase()))) return true;
    }
    return false;
  };
}
