/** A path template taken apart: segments before `{**}` (undefined stands for `{*}`), and the text behind it when there is one. */
export interface PathTemplate {
  readonly head: readonly (string | undefined)[];
  /** Undefined without `{**}`; else empty or beginning with `/`. */
  readonly tail: string | undefined;
}

/** Characters that an operator of a template stands for, besides `/` for `{**}` (istio-semantics 3.7). */
const templateCharacters = new Uint8Array(128);
for (const character of "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~%!$&'()+,;:@=*") {
  templateCharacters[character.charCodeAt(0)] = 1;
}

/** Whether `{*}` stands for this code unit, and `{**}` besides `/`. */
export function isTemplateCode(code: number): boolean {
  return code < 128 && templateCharacters[code] === 1;
}

/** What all templates ask of one path; positions are ascending. */
interface PathFacts {
  readonly path: string;
  readonly slashes: readonly number[];
  /** Positions that no operator stands for. */
  readonly foreign: readonly number[];
  /** Indexes of segments without a character. */
  readonly empty: readonly number[];
}

function readFacts(path: string): PathFacts {
  const slashes: number[] = [];
  const foreign: number[] = [];
  const empty: number[] = [];
  for (let at = 0; at < path.length; at += 1) {
    const code = path.charCodeAt(at);
    if (code === 0x2f) {
      if (at + 1 === path.length || path.charCodeAt(at + 1) === 0x2f) empty.push(slashes.length);
      slashes.push(at);
    } else if (!isTemplateCode(code)) foreign.push(at);
  }
  return { path, slashes, foreign, empty };
}

/** Whether one of the ascending numbers lies in `from` to `to`, the latter excluded. */
function hasBetween(numbers: readonly number[], from: number, to: number): boolean {
  let low = 0;
  let high = numbers.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((numbers[middle] as number) < from) low = middle + 1;
    else high = middle;
  }
  return low < numbers.length && (numbers[low] as number) < to;
}

/** Segments next to each other that are all `{*}`, or all literal: then their text, each with its slash. */
interface Run {
  readonly index: number;
  readonly count: number;
  readonly text: string | undefined;
}

function runsOf({ head }: PathTemplate): readonly Run[] {
  const runs: Run[] = [];
  for (const [index, segment] of head.entries()) {
    const last = runs.at(-1);
    const text = segment === undefined ? undefined : `/${segment}`;
    if (last === undefined || (last.text === undefined) !== (text === undefined)) runs.push({ index, count: 1, text });
    else runs[runs.length - 1] = { ...last, count: last.count + 1, text: text === undefined ? undefined : `${last.text}${text}` };
  }
  return runs;
}

function matchesRun({ index, count, text }: Run, { path, slashes, foreign, empty }: PathFacts): boolean {
  const start = slashes[index] as number;
  const end = slashes[index + count] ?? path.length;
  if (text !== undefined) return end - start === text.length && path.startsWith(text, start);
  return !hasBetween(empty, index, index + count) && !hasBetween(foreign, start, end);
}

/**
 * Many templates against one path: it is read once, and each template then costs hardly more than it has changes between operators and literals,
 * however long the path is.
 */
export function compileTemplates(templates: readonly PathTemplate[]): (path: string) => boolean {
  const compiled = templates.map((template) => ({ runs: runsOf(template), length: template.head.length, tail: template.tail }));
  return (path) => {
    if (!path.startsWith('/')) return false;
    const facts = readFacts(path);
    const { slashes, foreign } = facts;
    for (const { runs, length, tail } of compiled) {
      if (tail === undefined ? slashes.length !== length : slashes.length <= length) continue;
      const start = tail === undefined ? path.length : (slashes[length] as number);
      const end = path.length - (tail?.length ?? 0);
      if (tail !== undefined && (end <= start || !path.endsWith(tail) || hasBetween(foreign, start, end))) continue;
      if (runs.every((run) => matchesRun(run, facts))) return true;
    }
    return false;
  };
}
