import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '../../..');

/** The text of a file as docs/identity.md prints it; the text is what readers copy, so that is what is tried. */
export function printedFile(file: string): string {
  const page = readFileSync(join(root, 'docs/identity.md'), 'utf8');
  const [, rest] = page.split(`<!-- file: ${file} -->\n\n\`\`\``);
  const text = rest?.slice(rest.indexOf('\n') + 1, rest.indexOf('\n```\n') + 1);
  if (text === undefined) throw new Error(`docs/identity.md does not print ${file}`);
  return text;
}

/** Replaces each of the texts; one that is not there is an error, for then the page has changed. */
export function substitute(text: string, replacements: Readonly<Record<string, string>>): string {
  let out = text;
  for (const [from, to] of Object.entries(replacements)) {
    if (!out.includes(from)) throw new Error(`the page no longer says ${from}`);
    out = out.replaceAll(from, to);
  }
  return out;
}
