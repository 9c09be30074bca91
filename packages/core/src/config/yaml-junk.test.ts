import { beforeAll, describe, expect, it } from 'vitest';
import { validateDocuments } from './validate.js';

const length = 64 * 1024;
const repeated = (unit: string, before = '', after = ''): string =>
  before + unit.repeat(Math.floor(length / unit.length)) + after;
const numbered = (make: (index: number) => string, before = '', after = '', size = length): string => {
  const pieces = [before];
  for (let index = 0, sum = 0; sum < size; index++) sum += pieces[pieces.push(make(index)) - 1]!.length;
  return pieces.join('') + after;
};
const head = 'apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, namespace: shop}\nspec:\n';
const rule = `  - from:\n    - source:\n        principals: ["cluster.local/ns/shop/sa/gateway"]\n    to:\n    - operation:\n        methods: ["GET"]\n        paths: ["/items/7"]\n`;

/** Texts that ask much of a reader: each was once, or might become, quadratic. Where a reader may compare keys with each other they are longer. */
const families: Readonly<Record<string, () => string>> = {
  commas: () => repeated(',', '['),
  'one-letter values': () => repeated('a,', '[', ']'),
  'empty strings in a list': () => repeated('"",', '[', ']'),
  'empty lists': () => repeated('[],', '[', ']'),
  'opening brackets on lines': () => repeated('[\n'),
  'closing brackets': () => repeated(']\n', 'a: 1\n'),
  'lists that are never closed': () => repeated('a: [\nb\n'),
  'one key again and again': () => repeated('a: 1\n'),
  'one key again and again in a flow map': () => repeated('a: 1,', '{', '}'),
  'different keys': () => numbered((index) => `k${index}: 1\n`, '', '', 4 * length),
  'different keys in a flow map': () => numbered((index) => `k${index}: 1,`, '{', '}', 4 * length),
  'keys over two lines': () => repeated('a\nb: 1,', '{', '}'),
  'explicit keys': () => repeated('? a\n'),
  'question marks': () => repeated('? ', '['),
  'colons on lines': () => repeated(':\n'),
  'dashes on a line': () => repeated('- '),
  'dashes on lines': () => repeated('-\n'),
  'lists in lists': () => repeated(`${'- '.repeat(50)}a\n`),
  'deep indentation': () => repeated(Array.from({ length: 50 }, (_, index) => `${' '.repeat(index)}a:\n`).join('')),
  'wrong indentation': () => repeated('a:\n    b: 1\n  c: 1\n'),
  'document markers': () => repeated('---\n'),
  'document ends': () => repeated('...\n'),
  'small documents': () => repeated('a\n---\n'),
  'broken documents': () => repeated('[\n---\n'),
  directives: () => repeated('%a\n'),
  'YAML directives': () => repeated('%YAML 1.2\n---\n'),
  'hashes in a directive': () => repeated('a#', '%'),
  tabs: () => repeated('\ta\n'),
  'tabs as indentation': () => repeated('\tb: 1\n', 'a:\n'),
  spaces: () => repeated(' ', '', 'a'),
  'blank lines': () => repeated(' \n'),
  'blank lines in a scalar': () => repeated('\n', 'a: b\n', '  c'),
  'carriage returns': () => numbered((index) => `k${index}: 1\r`),
  'CRLF line ends': () => numbered((index) => `k${index}: 1\r\n`),
  comments: () => repeated('#\n'),
  'comments in a list': () => repeated('- b\n# c\n', 'a:\n'),
  'comments in brackets': () => repeated('#\n', '['),
  'comments after a document': () => repeated('# c\n', 'a: b\n...\n'),
  'one long scalar': () => repeated('x'),
  'an open quote': () => repeated('x\n', '"'),
  quotes: () => repeated('"'),
  'single quotes': () => repeated("'"),
  'blank lines in quotes': () => repeated(' \n', '"', 'a"'),
  'spaces in quotes': () => repeated(' ', '"', '"'),
  backslashes: () => repeated('\\', '"'),
  'escaped quotes': () => repeated('\\"', '"'),
  'unknown escapes': () => repeated('\\q', '"', '"'),
  'words on a line': () => repeated('a '),
  'colons in a word': () => repeated('a:'),
  'a block scalar of lines': () => repeated('  x\n', 'a: |\n'),
  'a block scalar of blank lines': () => repeated('\n', 'a: |+\n'),
  'a folded block scalar': () => repeated('  x\n   y\n', 'a: >\n'),
  'a block scalar that ends in tabs': () => repeated('\t\n', 'a: |\n  x\n'),
  'a long header of a block scalar': () => repeated('-', 'a: |'),
  'empty block scalars': () => repeated('- |\n'),
  anchors: () => numbered((index) => `- &a${index} x\n`),
  'anchors on one value': () => repeated('&a ', '', 'x'),
  aliases: () => repeated('*a,', '- &a x\n- [', ']'),
  'aliases as keys': () => repeated('  *a : 1\n', '- &a x\n-\n'),
  'aliases without an anchor': () => repeated('- *a\n'),
  'unknown tags': () => repeated('- !x y\n'),
  'tags on one value': () => repeated('!!str ', '', 'x'),
  'an ordered map': () => numbered((index) => `- k${index}: 1\n`, '!!omap\n', '', 4 * length),
  'a set': () => numbered((index) => `? k${index}\n`, '!!set\n', '', 4 * length),
  'merge keys': () => repeated('  <<: *a\n', 'a: &a {b: 1}\nc:\n'),
  'a long merge': () => repeated('*a,', 'a: &a {b: 1}\nc:\n  <<: [', ']\n'),
  'control characters': () => repeated('\u0002\n'),
  'a long number': () => repeated('9', 'a: '),
  'a number of underscores': () => repeated('_', 'a: 1'),
  'a long key': () => repeated('k', '', ': 1\n'),
  'unknown fields': () => numbered((index) => `  k${index}: 1\n`, head),
  'unknown kinds': () => numbered((index) => `---\napiVersion: x/v1\nkind: K${index}\n`),
  'documents without a kind': () => numbered((index) => `---\na: ${index}\n`),
  'one policy again and again': () => repeated(`---\n${head}  action: ALLOW\n`),
  'labels of a policy': () =>
    numbered((index) => `    k${index}: v\n`, head.replace('{name: p,', '\n  labels:\n').replace(/ namespace.*\n/, '')),
  'values that are wrong': () => repeated('        - x\n', `${head}  rules:\n  - to:\n    - operation:\n        ports:\n`),
  'a long template': () => repeated('/{*}', `${head}  rules:\n  - to:\n    - operation:\n        paths: ["`, '"]\n'),
  'a long service account': () =>
    repeated('a/', `${head}  rules:\n  - from:\n    - source:\n        serviceAccounts: ["`, '"]\n'),
  'a long attribute': () => repeated('[a]', `${head}  rules:\n  - when:\n    - {key: "request.auth.claims`, '", values: [a]}\n'),
  'a list of lists': () => repeated('- {apiVersion: v1, kind: List, items: []}\n', 'apiVersion: v1\nkind: List\nitems:\n'),
};

/** Processor time of one validation, in milliseconds: what else the machine does is not what is asked. */
function timeOf(text: string): number {
  const before = process.cpuUsage();
  validateDocuments([{ name: 'a.yaml', text }]);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

describe('a file of junk', () => {
  let honest = 0;
  beforeAll(() => {
    const text = numbered((index) => `---\n${head.replace(': p,', `: p${index},`)}  rules:\n${rule.repeat(10)}`);
    expect(validateDocuments([{ name: 'a.yaml', text }]).problems).toEqual([]);
    honest = [1, 2, 3].map(() => timeOf(text)).toSorted((a, b) => a - b)[1]!;
  });

  // Measured, the worst takes twice the time of the honest file, and a reader that compares keys with each other ten times as long.
  it.each(Object.keys(families))('costs little more than an honest one of its length: %s', (name) => {
    const text = families[name]!();
    const most = 5 * honest * Math.max(1, text.length / length) + 100;
    const took = timeOf(text);
    expect(took < most ? took : Math.min(took, timeOf(text))).toBeLessThan(most);
  });
});
