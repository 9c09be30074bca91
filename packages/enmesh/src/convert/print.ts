import { stringify } from 'yaml';
import type { ConvertedDocument } from './book.js';

/** An object as YAML that readers of YAML 1.1 (Kubernetes) and 1.2 understand alike: `on`, `no` and `010` are quoted. */
export function formatObject(value: object): string {
  let text = texts.get(value);
  if (text === undefined) texts.set(value, (text = stringify(value, { version: '1.1', lineWidth: 0 })));
  return text;
}

/** What is validated is then printed: thousands of documents are formatted once. */
const texts = new WeakMap<object, string>();

/** Converted documents as one YAML text; above each one where it came from and what changes in meaning, as comments. */
export function formatDocuments(documents: readonly ConvertedDocument[]): string {
  return documents.map((one) => `${comments(one)}${formatObject(one.document)}`).join('---\n');
}

function comments({ from, notes }: ConvertedDocument): string {
  const lines = [`From ${from.join(', ')}.`, ...notes.flatMap((note) => wrap(`- ${note}`, 116))];
  // A line break in a name would end the comment and let the rest be read as YAML.
  return lines.map((line) => `# ${line.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, ' ')}\n`).join('');
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last === undefined || last.length + word.length + 1 > width) lines.push(last === undefined ? word : `  ${word}`);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines;
}
