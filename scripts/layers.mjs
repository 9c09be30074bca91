import { readdirSync, readFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { dirname, join, relative, resolve, sep } from 'node:path';
import ts from 'typescript';

/**
 * A direction table read from docs/architecture.md.
 * @typedef {{label: string, order: number}} Row
 * @typedef {{rows: Map<string, Row>, owners: Map<string, Set<string>>}} Table  rooms -> row, dependency or Node module -> rooms that may import it
 * @typedef {{file: string, line: number, message: string}} Violation  `file` is relative to the root, with forward slashes
 */

const slashes = (path) => path.split(sep).join('/');

/**
 * Reads the two fenced blocks of the page: `layers` (label, then rooms; a later line may import earlier ones, never its own neighbours) and
 * `dependencies` (a package or `node:` module, then the rooms that may import it). `#` begins a comment.
 * @param {string} markdown
 * @returns {Table}
 */
export function parseTable(markdown) {
  const rows = new Map();
  for (const [order, { head, rest }] of linesOf(markdown, 'layers').entries()) {
    for (const room of rest) {
      if (rows.has(room)) throw new Error(`docs/architecture.md: ${room} stands twice in the direction table`);
      rows.set(room, { label: head, order });
    }
  }
  const owners = new Map(linesOf(markdown, 'dependencies').map(({ head, rest }) => [head, new Set(rest)]));
  return { rows, owners };
}

function linesOf(markdown, fence) {
  const block = new RegExp('^```' + fence + '\\r?\\n([\\s\\S]*?)^```', 'm').exec(markdown)?.[1];
  if (block === undefined) throw new Error(`docs/architecture.md has no \`\`\`${fence} block`);
  const lines = block.split('\n').map((line) => line.replace(/#.*/, '').trim().split(/\s+/));
  return lines.filter(([head]) => head !== '').map(([head, ...rest]) => ({ head, rest }));
}

/**
 * Every module specifier of a source text, whichever way it is written: `import`, `export from`, `import type`, `import('x')` as value or type,
 * `require`, `import x = require()`, `require.resolve`, `import.meta.resolve`, `new URL('./x', import.meta.url)`.
 * A specifier that is no literal is undefined: such an import cannot be checked.
 * @param {string} text
 * @param {string} file
 * @returns {{specifier: string | undefined, line: number}[]}
 */
export function importsOf(text, file) {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  const found = [];
  const add = (node, expression) => {
    const specifier = expression !== undefined && ts.isStringLiteralLike(expression) ? expression.text : undefined;
    found.push({ specifier, line: source.getLineAndCharacterOfPosition(node.getStart(source)).line + 1 });
  };
  const visit = (node) => {
    if (ts.isImportDeclaration(node)) add(node, node.moduleSpecifier);
    else if (ts.isExportDeclaration(node) && node.moduleSpecifier) add(node, node.moduleSpecifier);
    else if (ts.isExternalModuleReference(node)) add(node, node.expression);
    else if (ts.isImportTypeNode(node)) add(node, ts.isLiteralTypeNode(node.argument) ? node.argument.literal : undefined);
    else if (ts.isCallExpression(node) && isModuleCall(node.expression)) add(node, node.arguments[0]);
    else if (ts.isNewExpression(node) && isModuleUrl(node, source)) add(node, node.arguments[0]);
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

function isModuleCall(callee) {
  if (callee.kind === ts.SyntaxKind.ImportKeyword) return true;
  if (ts.isIdentifier(callee)) return callee.text === 'require';
  if (!ts.isPropertyAccessExpression(callee) || callee.name.text !== 'resolve') return false;
  const object = callee.expression;
  if (ts.isIdentifier(object)) return object.text === 'require';
  return ts.isMetaProperty(object) || (ts.isCallExpression(object) && object.expression.getText() === 'createRequire');
}

function isModuleUrl(node, source) {
  const [target, base] = node.arguments ?? [];
  return node.expression.getText(source) === 'URL' && target !== undefined && base?.getText(source) === 'import.meta.url';
}

/**
 * Holds the sources under `root` against the page's two tables.
 * @param {string} root
 * @returns {{files: number, imports: number, violations: Violation[]}}
 */
export function findViolations(root) {
  const table = parseTable(readFileSync(join(root, 'docs/architecture.md'), 'utf8'));
  const packages = readPackages(root);
  const used = new Set();
  const violations = [];
  let files = 0;
  let imports = 0;
  for (const home of packages) {
    for (const path of sourcesIn(home.source)) {
      files += 1;
      const file = slashes(relative(root, path));
      const from = roomOf(path, home, table);
      if (from.problem !== undefined) violations.push({ file, line: 1, message: from.problem });
      for (const { specifier, line } of importsOf(readFileSync(path, 'utf8'), path)) {
        imports += 1;
        const message = judge({ specifier, path, home, from, packages, table, used });
        if (message !== undefined) violations.push({ file, line, message });
      }
    }
    violations.push(...idleDependencies(root, home, used));
  }
  return { files, imports, violations };
}

function readPackages(root) {
  const folders = readdirSync(join(root, 'packages'), { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return folders.map(({ name }) => {
    const directory = join(root, 'packages', name);
    const manifest = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'));
    const { name: packageId, exports = {}, dependencies = {}, peerDependencies = {} } = manifest;
    const declared = Object.keys({ ...dependencies, ...peerDependencies });
    const own = Object.keys(dependencies);
    return { directory, source: join(directory, 'src'), name: packageId, exports, declared, own, isCore: name === 'core' };
  });
}

function sourcesIn(directory) {
  const entries = readdirSync(directory, { withFileTypes: true, recursive: true });
  const files = entries.filter(
    (entry) => entry.isFile() && /\.[cm]?tsx?$/.test(entry.name) && !/\.test\.[cm]?tsx?$/.test(entry.name),
  );
  return files.map((entry) => join(entry.parentPath ?? entry.path, entry.name)).sort();
}

/** The room a file stands in: the longest entry of the table that is the file or a folder above it. Other packages are one room each. */
function roomOf(path, home, { rows }) {
  if (!home.isCore)
    return rows.has(home.name) ? { room: home.name } : { problem: `${home.name} has no row in docs/architecture.md` };
  const name = slashes(relative(home.source, path)).replace(/\.[cm]?[jt]sx?$/, '');
  if (name === 'index') return { room: 'index' };
  const parts = name.split('/');
  for (let length = parts.length; length > 0; length -= 1) {
    const room = parts.slice(0, length).join('/');
    if (rows.has(room)) return { room };
  }
  return { problem: `${parts[0]} has no row in docs/architecture.md` };
}

/** Why an import is against the table; undefined when it is not. */
function judge({ specifier, path, home, from, packages, table, used }) {
  if (specifier === undefined) return 'imports a module that is not named by a literal, so its direction cannot be checked';
  if (specifier.startsWith('.')) {
    const target = resolve(dirname(path), specifier);
    if (!target.startsWith(home.source + sep)) return `imports ${specifier}, which is outside its package's src`;
    return judgeRooms(from, roomOf(target, home, table), table);
  }
  const owners = table.owners.get(specifier.startsWith('node:') ? specifier : packageName(specifier));
  if (isBuiltin(specifier)) {
    if (!specifier.startsWith('node:')) return `imports ${specifier} without the prefix node:`;
    return owners === undefined || owners.has(from.room)
      ? undefined
      : `${from.room} imports ${specifier}, which is for ${listed(owners)}`;
  }
  const target = packages.find(({ name }) => name === packageName(specifier));
  if (target !== undefined) return judgePackage({ specifier, target, home, from, packages, table, used });
  return judgeDependency({ specifier, owners, home, from, used });
}

function judgePackage({ specifier, target, home, from, packages, table, used }) {
  const entry = '.' + specifier.slice(target.name.length);
  if (!(entry in target.exports)) return `imports ${specifier}, which is no public entry of ${target.name}`;
  if (target !== home) {
    used.add(`${home.name} ${target.name}`);
    if (!home.declared.includes(target.name)) return `imports ${target.name}, which package.json does not declare`;
    if (!target.isCore) return judgeRooms(from, roomOf('', target, table), table);
    return home.isCore ? undefined : belowCore(from, packages, table);
  }
  const built = target.exports[entry].default ?? target.exports[entry];
  return judgeRooms(from, roomOf(join(target.source, relative('dist', built)), target, table), table);
}

function belowCore(from, packages, { rows }) {
  const own = rows.get(from.room)?.order;
  const isPackage = (room) => packages.some(({ name }) => name === room);
  const last = Math.max(...[...rows].filter(([room]) => !isPackage(room)).map(([, row]) => row.order));
  return own === undefined || own > last ? undefined : `${from.room} stands above a room of core in the direction table`;
}

function judgeDependency({ specifier, owners, home, from, used }) {
  const name = packageName(specifier);
  used.add(`${home.name} ${name}`);
  if (owners === undefined) return `imports ${name}, which has no row in the dependency table of docs/architecture.md`;
  if (!owners.has(from.room)) return `${from.room} imports ${name}, which is for ${listed(owners)}`;
  return home.declared.includes(name) ? undefined : `imports ${name}, which package.json does not declare`;
}

function judgeRooms(from, to, { rows }) {
  if (to.problem !== undefined) return `imports a file of which the table knows no row: ${to.problem}`;
  if (from.room === undefined || from.room === 'index' || from.room === to.room) return undefined;
  if (to.room === 'index') return `${from.room} imports index, the front door of the package`;
  const [own, other] = [rows.get(from.room), rows.get(to.room)];
  if (own.order > other.order) return undefined;
  const why = own.order === other.order ? 'neighbours on a row do not import each other' : 'imports go to rows above only';
  return `${from.room} (row ${own.label}) imports ${to.room} (row ${other.label}): ${why}`;
}

function idleDependencies(root, home, used) {
  const file = slashes(relative(root, join(home.directory, 'package.json')));
  const idle = home.own.filter((name) => !used.has(`${home.name} ${name}`));
  return idle.map((name) => ({ file, line: 1, message: `declares ${name}, which no source file imports` }));
}

const packageName = (specifier) => specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
const listed = (rooms) => [...rooms].join(', ');
