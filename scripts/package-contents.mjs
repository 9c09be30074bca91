import { posix } from 'node:path';

/**
 * What is wrong with the files of a packed package: it holds exactly what an installed service can use. Every public entry with its types is there,
 * every source map finds its sources, a README and the licence come along, and no test, fixture, key or build state does.
 * @param {{files: readonly string[], read: (file: string) => string, license: string}} contents  paths as in the tarball, without `package/`
 * @returns {string[]}
 */
export function contentProblems({ files, read, license }) {
  const present = new Set(files);
  const missing = ['package.json', 'README.md', 'LICENSE']
    .filter((file) => !present.has(file))
    .map((file) => `${file} is missing`);
  if (missing.length > 0) return missing;
  const problems = files.flatMap((file) => fileProblem(file) ?? []);
  if (read('LICENSE') !== license) problems.push('LICENSE differs from the LICENSE of the repository');
  const manifest = JSON.parse(read('package.json'));
  for (const target of targetsOf(manifest.exports)) {
    if (!present.has(target)) problems.push(`package.json exports ${target}, which is missing`);
  }
  for (const target of targetsOf(manifest.bin)) {
    if (!present.has(target)) problems.push(`package.json has the command ${target}, which is missing`);
  }
  if (!/\bbuild\b|\btsc\b/.test(manifest.scripts?.prepack ?? '')) problems.push('package.json has no prepack script that builds');
  for (const file of files) problems.push(...mapProblems(file, present, read));
  return problems;
}

function fileProblem(file) {
  if (/(^|\/)(__tests__|test|tests|fixtures?|node_modules)\/|\.test\./.test(file)) return `${file} is of the tests`;
  if (/\.(pem|key|crt|p12|env|log|tsbuildinfo)$|(^|\/)\.[^/]+$/.test(file)) return `${file} has no place in a package`;
  if (/^(package\.json|README\.md|LICENSE|(bin|dist|src)\/.+)$/.test(file)) return undefined;
  return `${file} is not expected in a package`;
}

function targetsOf(exports) {
  if (typeof exports === 'string') return [posix.normalize(exports)];
  return Object.values(exports ?? {}).flatMap(targetsOf);
}

function mapProblems(file, present, read) {
  if (!file.endsWith('.map')) return [];
  const { sources, sourcesContent } = JSON.parse(read(file));
  if (sourcesContent !== undefined) return [];
  const lost = sources.filter((source) => !present.has(posix.join(posix.dirname(file), source)));
  return lost.map((source) => `${file} points to ${source}, which is missing`);
}

/**
 * The import lines of a README's code blocks that name a package of ours.
 * @param {string} markdown
 * @returns {{line: string, names: string[], from: string}[]}
 */
export function readmeImports(markdown) {
  const blocks = [...markdown.matchAll(/^```(?:js|ts|javascript|typescript|mjs)\n([\s\S]*?)^```/gm)].map(([, code]) => code);
  const imports = [...blocks.join('\n').matchAll(/^import \{ ([^}]+) \} from '(@enmesh\/[^']+|enmesh)';?$/gm)];
  return imports.map(([line, names, from]) => ({ line, names: names.split(',').map((name) => name.trim()), from }));
}
