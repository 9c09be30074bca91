import { describe, expect, it } from 'vitest';
import { aliasedNodeLimit, faultLimit, nestingLimit, readYamlDocuments } from './documents.js';
import { entryOf, type ConfigNode } from './node.js';
import { formatProblem, type ConfigProblem } from './problem.js';
import { createProblemList, createReport } from './report.js';

function read(text: string): { nodes: ConfigNode[]; problems: readonly ConfigProblem[] } {
  const list = createProblemList();
  return { nodes: [...readYamlDocuments(text, createReport('f.yaml', text, list))], problems: list.problems };
}

function problemOf(text: string): string {
  const { nodes, problems } = read(text);
  expect(nodes).toEqual([]);
  return problems.map((problem) => `${problem.code} ${formatProblem(problem)}`).join('\n');
}

/** The plain value of a node, to compare with. */
function plain(node: ConfigNode): unknown {
  if (node.kind === 'scalar') return node.value;
  if (node.kind === 'list') return node.items.map(plain);
  return Object.fromEntries(node.entries.map((entry) => [entry.key, plain(entry.value)]));
}

describe('readYamlDocuments', () => {
  it('reads several documents and skips empty ones', () => {
    const { nodes, problems } = read('# only a comment\n---\na: 1\n---\n---\nb: [x, {c: null}]\n...\n');
    expect(problems).toEqual([]);
    expect(nodes.map(plain)).toEqual([{ a: 1 }, { b: ['x', { c: null }] }]);
  });

  it('reads JSON, a byte order mark and Windows line ends', () => {
    expect(read('{"a": ["\\u0047ET"]}').nodes.map(plain)).toEqual([{ a: ['GET'] }]);
    expect(read('\ufeffa: 1\r\nb: 2\r\n').nodes.map(plain)).toEqual([{ a: 1, b: 2 }]);
  });

  it('knows where every key and value stands', () => {
    const text = 'a:\n  bb: [x,  y]\n';
    const bb = entryOf(entryOf(read(text).nodes[0]!, 'a')!.value, 'bb')!;
    expect(text.slice(bb.keyOffset, bb.keyOffset + 2)).toBe('bb');
    expect(bb.value.kind === 'list' ? bb.value.items.map((item) => text[item.offset]) : []).toEqual(['x', 'y']);
  });

  it('writes aliases out, and keys written as numbers as text', () => {
    expect(read('a: &x [GET]\nb: *x\n8080: {}\n').nodes.map(plain)).toEqual([{ a: ['GET'], b: ['GET'], 8080: {} }]);
  });

  it('keeps the text of unquoted scalars only', () => {
    const { nodes } = read('[on, "on", !!str on, 010]');
    const list = nodes[0]!;
    expect(list.kind === 'list' ? list.items.map((item) => (item.kind === 'scalar' ? item.plain : '')) : []).toEqual([
      'on',
      undefined,
      undefined,
      '010',
    ]);
  });

  it.each([
    ['an open bracket', 'a: [b\n', 'ENMESH_CONFIG_SYNTAX f.yaml:2:1'],
    ['a tab', 'a:\n\tb: 1\n', 'ENMESH_CONFIG_SYNTAX f.yaml:2:1'],
    ['two colons', 'a: b: c\n', 'ENMESH_CONFIG_SYNTAX f.yaml:1:4'],
    ['an unknown escape', 'a: "\\q"\n', 'ENMESH_CONFIG_SYNTAX f.yaml:1:5'],
    ['an unknown tag', 'a: !foo b\n', 'ENMESH_CONFIG_SYNTAX f.yaml:1:4'],
    ['a binary tag', 'a: !!binary aGk=\n', 'ENMESH_CONFIG_SYNTAX f.yaml:1:4'],
    ['an alias without an anchor', 'a: *b\n', 'ENMESH_CONFIG_SYNTAX f.yaml:1:4'],
    ['an alias to what it is in', 'a: &b [*b]\n', 'ENMESH_CONFIG_SYNTAX f.yaml:1:8'],
    ['a merge key', 'a: &b {c: 1}\nd:\n  <<: *b\n', 'ENMESH_CONFIG_SYNTAX f.yaml:3:3'],
    ['__proto__', 'a:\n  __proto__: {x: 1}\n', 'ENMESH_CONFIG_SYNTAX f.yaml:2:3'],
    ['a quoted __proto__', '{"__proto__": 1}', 'ENMESH_CONFIG_SYNTAX f.yaml:1:2'],
    ['a boolean key', 'a: {true: 1}\n', 'ENMESH_CONFIG_SYNTAX f.yaml:1:5'],
    ['a key that is a boolean to Kubernetes', 'labels:\n  on: x\n', 'ENMESH_CONFIG_SYNTAX f.yaml:2:3'],
    ['an octal key', 'a: {010: x}\n', 'ENMESH_CONFIG_SYNTAX f.yaml:1:5'],
    ['a null key', 'a: {~: 1}\n', 'ENMESH_CONFIG_SYNTAX f.yaml:1:5'],
    ['a list as a key', '? [a]\n: 1\n', 'ENMESH_CONFIG_SYNTAX f.yaml:1:3'],
    ['deep nesting', `${'['.repeat(nestingLimit + 1)}x${']'.repeat(nestingLimit + 1)}`, 'ENMESH_CONFIG_LIMIT f.yaml:1:66'],
    ['very deep nesting', '['.repeat(100_000), 'ENMESH_CONFIG_LIMIT f.yaml:1:'],
    ['a list of a million letters', `[${'a,'.repeat(500_000)}]`, 'ENMESH_CONFIG_LIMIT f.yaml:1:'],
    ['a bare carriage return', '# open\raction: DENY\n', 'ENMESH_CONFIG_SYNTAX f.yaml:1:7'],
    ['a line separator', 'a: 1 # open\u2028action: DENY\n', 'ENMESH_CONFIG_SYNTAX f.yaml:1:12'],
    ['a control character', 'a: "x\u0002"\n', 'ENMESH_CONFIG_SYNTAX f.yaml:1:6'],
    ['half of a surrogate pair', 'a: "\ud83d"\n', 'ENMESH_CONFIG_SYNTAX f.yaml:1:5'],
    ['a byte order mark on a later line', 'a: 1\n\ufeffb: 2\n', 'ENMESH_CONFIG_SYNTAX f.yaml:2:1'],
  ])('refuses %s with its place', (_what, text, expected) => {
    expect(problemOf(text)).toContain(expected);
  });

  it('refuses a directive and reads the document after it', () => {
    const { nodes, problems } = read('a: 1\n---\nb: 2\n...\n%YAML 1.1\n---\nc: 3\n');
    expect(problems.map((problem) => formatProblem(problem))).toEqual([
      'f.yaml:5:1: YAML directives (%YAML, %TAG) are not read (remove the line that begins with %)',
    ]);
    expect(nodes.map(plain)).toEqual([{ a: 1 }, { b: 2 }, { c: 3 }]);
  });

  it('reads no further where a file has more faults than are told', () => {
    for (const text of ['a: @\n---\n'.repeat(2000), 'a: 1\n'.repeat(2000), `a:\n${'\tb: 1\n'.repeat(2000)}`]) {
      const { problems } = read(text);
      expect(problems.at(-1)?.message).toBe('more than 200 faults: the rest of the file is not read');
      expect(problems.length).toBeLessThanOrEqual(faultLimit + 1);
    }
  });

  it('names both places of a key given twice', () => {
    expect(problemOf('spec:\n  paths: [/a]\n  methods: [GET]\n  paths: [/b]\n')).toContain(
      'f.yaml:4:3: the key "paths" stands twice in one map (it stands first on line 2',
    );
  });

  it('takes 8080 and "8080" for the same key', () => {
    expect(problemOf('8080: a\n"8080": b\n')).toContain('stands twice');
  });

  it('refuses an alias bomb without expanding it', () => {
    const levels = 'abcdefghijklmnop'.split('');
    const bomb = levels.map(
      (name, index) =>
        `${name}: &${name} [${
          index === 0
            ? 'x'
            : Array(10)
                .fill(`*${levels[index - 1]}`)
                .join(', ')
        }]`,
    );
    expect(problemOf(bomb.join('\n'))).toContain('ENMESH_CONFIG_LIMIT');
  });

  it('admits aliases up to the limit and no further', () => {
    const text = (count: number): string =>
      `a: &a ${JSON.stringify(Array(99).fill('x'))}\nb: [${Array(count).fill('*a').join(',')}]`;
    expect(read(text(aliasedNodeLimit / 100)).problems).toEqual([]);
    expect(problemOf(text(aliasedNodeLimit / 100 + 1))).toContain('ENMESH_CONFIG_LIMIT');
  });

  it('reads the documents beside a broken one', () => {
    const { nodes, problems } = read('a: 1\n---\nb: {c: 1, c: 2}\n---\nd: 3\n');
    expect(nodes.map(plain)).toEqual([{ a: 1 }, { d: 3 }]);
    expect(problems).toHaveLength(1);
  });

  it('never quotes the file in a syntax error', () => {
    expect(problemOf('password: "hunter2\nb: 1\n')).not.toContain('hunter2');
    expect(problemOf('password: [hunter2 }\n')).not.toContain('hunter2');
    expect(problemOf('password: !hunter2 x\n')).not.toContain('hunter2');
  });
});
