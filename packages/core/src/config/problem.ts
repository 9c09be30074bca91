import type { ErrorCode } from '../errors.js';

/**
 * One thing that is wrong, or doubtful, in a configuration file. `line` and `column` begin at 1; `path` is the place inside the document
 * (`spec.rules[0].from[1].source.principals[0]`, empty for the document itself). Plain data that a worker can post.
 * `message` and `hint` never hold a key, a token or a value that a policy compares with.
 */
export interface ConfigProblem {
  readonly level: 'error' | 'warning';
  readonly code: ErrorCode;
  readonly message: string;
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly path: string;
  readonly hint?: string;
}

/** A problem as one line for people and editors: `file:line:column path: message (hint)`. */
export function formatProblem(problem: ConfigProblem): string {
  const place = `${problem.file}:${problem.line}:${problem.column}`;
  const path = problem.path === '' ? '' : ` ${problem.path}`;
  const hint = problem.hint === undefined ? '' : ` (${problem.hint})`;
  return `${place}${path}: ${problem.message}${hint}`;
}

/** `text` in double quotes for a message: bounded to 60 characters, control and non-ASCII characters escaped. */
export function quote(text: string): string {
  const short = text.length > 60 ? `${text.slice(0, 57)}...` : text;
  return JSON.stringify(short).replace(/[\u007f-\uffff]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
