import { quote } from './problem.js';
import type { MeshOptions } from './settings.js';
import { nearest } from './spelling.js';

type Rule = readonly [what: string, isGood: (value: unknown) => boolean];

const text: Rule = ['a string', (value) => typeof value === 'string'];
const flag: Rule = ['true or false', (value) => typeof value === 'boolean'];
const map: Rule = ['an object', isMap];
/** What has rules of its own where it is read. */
const elsewhere: Rule = ['', () => true];

/** Each option of `createMesh` once: the compiler refuses a table that lacks one. */
const rules: Readonly<Record<keyof MeshOptions | 'extAuthz', Rule>> = {
  namespace: text,
  serviceAccount: text,
  labels: ['an object of strings, such as {app: "product"}', (value) => isMap(value) && Object.values(value).every(isText)],
  config: ['the path of a directory, or a source with read() and watch()', (value) => isText(value) || isSource(value)],
  identity: elsewhere,
  federation: elsewhere,
  bundleSnapshotDirectory: text,
  jwks: map,
  permissiveAnyAlpn: flag,
  istioHeaders: flag,
  log: flag,
  accessLog: elsewhere,
  auditClaims: elsewhere,
  decisionHeader: flag,
  requestContext: flag,
  egressGuard: elsewhere,
  guardBodies: flag,
  guardProcess: flag,
  maxHeaderCount: elsewhere,
  adminPort: elsewhere,
  file: text,
  env: map,
  clock: ['a function', (value) => typeof value === 'function'],
  extAuthz: elsewhere,
};

/**
 * Refuses, with `TypeError`, an option that `createMesh` does not have or of another type. Without TypeScript nobody else looks, and a misspelt `labels`
 * would leave every policy with a selector out of force.
 */
export function checkOptions(options: unknown): void {
  if (!isMap(options)) throw new TypeError('createMesh: takes one object of options');
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined) continue;
    if (!Object.hasOwn(rules, name)) {
      const near = nearest(name, Object.keys(rules));
      const hint = near === undefined ? 'docs/environment.md has them all' : `did you mean "${near}"?`;
      throw new TypeError(`createMesh: there is no option ${quote(name)} (${hint})`);
    }
    const [what, isGood] = rules[name as keyof typeof rules];
    if (!isGood(value)) throw new TypeError(`createMesh: ${name} must be ${what}`);
  }
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isText(value: unknown): boolean {
  return typeof value === 'string';
}

function isSource(value: unknown): boolean {
  return isMap(value) && typeof value.read === 'function' && typeof value.watch === 'function';
}
