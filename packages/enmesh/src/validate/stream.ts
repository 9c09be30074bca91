import { configLimits, validateDocuments, type ConfigProblem } from '@enmesh/core/config';
import { isUtf8 } from 'node:buffer';
import type { Readable } from 'node:stream';
import { readLines } from '../lines.js';
import { documentDoubts } from './document-doubts.js';

/** Bytes of one line: a document at its limit, every second character of it escaped. Longer lines are refused without being kept. */
export const lineLimit = 2 * configLimits.fileBytes;

/** What is said of a problem on a stream. */
type Told = Omit<ConfigProblem, 'level' | 'file'>;

/** The answer to one line. */
export interface StreamAnswer {
  readonly errors: readonly Told[];
  readonly warnings: readonly Told[];
}

/**
 * Answers every line of `input`, `{"document": "<yaml>"}`, with exactly one line through `write`, in order, whatever the line holds.
 * A line that is no such object, no UTF-8 or longer than {@link lineLimit} gets an error at line 1.
 */
export async function answerStream(input: Readable, write: (text: string) => Promise<void>): Promise<void> {
  for await (const line of readLines(input, lineLimit)) await write(`${JSON.stringify(answerLine(line))}\n`);
}

/** The answer to one line; `undefined` stands for a line that was too long. */
export function answerLine(line: Buffer | undefined): StreamAnswer {
  if (line === undefined) {
    return refuse('ENMESH_CONFIG_LIMIT', `the line has more than ${lineLimit / 1024 / 1024} MiB`);
  }
  if (!isUtf8(line)) return refuse('ENMESH_CONFIG_NOT_UTF8', 'the line is not UTF-8');
  const text = documentOf(line.toString('utf8'));
  if (text === undefined) {
    return refuse('ENMESH_CONFIG_SYNTAX', 'the line is no JSON object with a string "document"', '{"document": "<yaml>"}');
  }
  try {
    const { problems: found, resources } = validateDocuments([{ name: 'document', text }]);
    const problems = resources === undefined ? found : [...found, ...documentDoubts(resources)];
    return { errors: ofLevel(problems, 'error'), warnings: ofLevel(problems, 'warning') };
  } catch {
    return refuse('ENMESH_CONFIG_FAULT', 'the document cannot be validated');
  }
}

function documentOf(line: string): string | undefined {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, 'document')) return undefined;
    const { document } = value as { document: unknown };
    return typeof document === 'string' ? document : undefined;
  } catch {
    return undefined;
  }
}

function ofLevel(problems: readonly ConfigProblem[], level: ConfigProblem['level']): Told[] {
  const found = problems.filter((problem) => problem.level === level);
  return found.map(({ code, message, line, column, path, hint }) => ({
    code,
    message,
    line: Math.max(1, line),
    column: Math.max(1, column),
    path,
    ...(hint === undefined ? {} : { hint }),
  }));
}

function refuse(code: ConfigProblem['code'], message: string, hint?: string): StreamAnswer {
  return { errors: [{ code, message, line: 1, column: 1, path: '', ...(hint === undefined ? {} : { hint }) }], warnings: [] };
}
