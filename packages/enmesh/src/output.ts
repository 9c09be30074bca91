import { once } from 'node:events';
import { styleText } from 'node:util';

/** What a command ends with: all is well; something was found (an error in a policy, a denial, a failed case); it was called wrongly. */
export const exitCodes = { good: 0, finding: 1, misuse: 2 } as const;

/** How the command was called is wrong, or a file that it names cannot be read: one sentence on standard error, exit code 2. */
export class MisuseError extends Error {
  override readonly name = 'MisuseError';
}

/** The colours that commands use. Green is good, red is an error or a denial, yellow a warning, dim is beside the point. */
export type Colour = 'green' | 'red' | 'yellow' | 'cyan' | 'dim' | 'bold';

/** A stream of the process that may be a terminal. */
export type Stream = NodeJS.WriteStream & { readonly isTTY?: boolean };

/** `text` in a colour when `stream` is a terminal and neither NO_COLOR nor TERM=dumb is set; else `text` as it is. */
export function paint(colour: Colour, text: string, stream: Stream = process.stdout): string {
  const isColoured = stream.isTTY === true && !process.env['NO_COLOR'] && process.env['TERM'] !== 'dumb';
  return isColoured ? styleText(colour, text) : text;
}

/** Writes to standard output and waits while its reader is slow, so that a long stream of answers needs little memory. */
export async function writeOut(text: string): Promise<void> {
  if (text === '' || process.stdout.destroyed) return;
  if (!process.stdout.write(text)) await Promise.race([once(process.stdout, 'drain'), once(process.stdout, 'close')]);
}

/** One value as JSON for `--json`: two spaces deep, a line feed at the end. */
export function formatJson(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

/** Control characters, which could move a terminal's cursor or colour its text, as `\xNN`; line feeds and tabs too unless `keep` has them. */
export function printable(text: string, keep = ''): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, (char) =>
    keep.includes(char) ? char : `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
}

/** Length of what is seen: without the escape sequences of colours. */
function width(text: string): number {
  return text.replace(/\u001b\[[0-9;]*m/g, '').length;
}

/**
 * Rows in columns two spaces apart, the first row as the head. Cells may be painted; the last column is not padded. Without rows nothing is printed.
 */
export function formatTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  if (rows.length === 0) return '';
  const lines = [head.map((cell) => paint('bold', cell)), ...rows];
  const widths = head.map((_, column) => lines.reduce((widest, line) => Math.max(widest, width(line[column] ?? '')), 0));
  const pad = (cell: string, column: number): string =>
    column === head.length - 1 ? cell : cell + ' '.repeat(Math.max(0, widths[column]! - width(cell)));
  return lines.map((line) => `${line.map(pad).join('  ').trimEnd()}\n`).join('');
}
