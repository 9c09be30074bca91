import type { ErrorCode } from '../errors.js';
import type { MeshSettings } from './mesh-config.js';
import type { ConfigProblem } from './problem.js';

/** No more problems than this are told of one set of files; the last then says that there are more. */
export const problemLimit = 500;

/** All problems of one set of files, in the order found. */
export interface ProblemList {
  readonly problems: ConfigProblem[];
  /** Counts errors beyond {@link problemLimit} too: a set with any of them yields no resources. */
  errors: number;
  add(problem: ConfigProblem): void;
  /** Checks that wait for MeshConfig, which may stand in the last file; no more of them are kept than problems. */
  readonly waiting: ((mesh: MeshSettings) => void)[];
}

/** An empty list that keeps at most {@link problemLimit} problems: warnings make room for errors. */
export function createProblemList(): ProblemList {
  const problems: ConfigProblem[] = [];
  return {
    problems,
    waiting: [],
    errors: 0,
    add(problem) {
      if (problem.level === 'error') this.errors++;
      if (problems.length < problemLimit) {
        problems.push(problem);
        return;
      }
      const spare = problem.level === 'error' ? problems.findIndex((other) => other.level === 'warning') : -1;
      if (spare !== -1) problems.splice(spare, 1, problem);
    },
  };
}

/** A line and a column of a text, both from 1. */
export interface LineColumn {
  readonly line: number;
  readonly column: number;
}

/** What a document's readers report to: it knows the file and turns offsets into lines. */
export interface Report {
  readonly file: string;
  positionOf(offset: number): LineColumn;
  error(offset: number, path: string, code: ErrorCode, message: string, hint?: string): void;
  warn(offset: number, path: string, code: ErrorCode, message: string, hint?: string): void;
  /** Puts a check off until the mesh's settings are read. */
  whenMeshIsKnown(check: (mesh: MeshSettings) => void): void;
}

/** The report of one file, adding to `list`. */
export function createReport(file: string, text: string, list: ProblemList): Report {
  let lineStarts: number[] | undefined;
  const positionOf = (offset: number): LineColumn => {
    lineStarts ??= findLineStarts(text);
    const line = lastAtOrBefore(lineStarts, offset);
    return { line: line + 1, column: offset - lineStarts[line]! + 1 };
  };
  const add =
    (level: ConfigProblem['level']): Report['error'] =>
    (offset, path, code, message, hint) =>
      list.add({ level, code, message, file, ...positionOf(offset), path, ...(hint === undefined ? {} : { hint }) });
  const whenMeshIsKnown = (check: (mesh: MeshSettings) => void): void => {
    if (list.waiting.length < problemLimit) list.waiting.push(check);
  };
  return { file, positionOf, error: add('error'), warn: add('warning'), whenMeshIsKnown };
}

function findLineStarts(text: string): number[] {
  const starts = [0];
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) starts.push(at + 1);
  return starts;
}

function lastAtOrBefore(starts: readonly number[], offset: number): number {
  let low = 0;
  let high = starts.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (starts[middle]! <= offset) low = middle;
    else high = middle - 1;
  }
  return low;
}
