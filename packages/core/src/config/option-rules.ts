import { quote } from './problem.js';
import type { MeshOptions } from './settings.js';
import { nearest } from './spelling.js';

/** What an option must be, in words, and whether a value is that. */
export type OptionRule = readonly [what: string, isGood: (value: unknown) => boolean];

const text: OptionRule = ['a string', (value) => typeof value === 'string'];
/** A switch. */
export const flag: OptionRule = ['true or false', (value) => typeof value === 'boolean'];
/** An object of options of their own. */
export const map: OptionRule = ['an object', isMap];
/** What has rules of its own where it is read. */
const elsewhere: OptionRule = ['', () => true];

/** Each option of `createMesh` once: the compiler refuses a table that lacks one. */
const rules: Readonly<Record<keyof MeshOptions | 'extAuthz', OptionRule>> = {
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
  checkNamed('createMesh', options, rules, 'docs/environment.md has them all');
}

/**
 * Refuses, with `TypeError`, a name that the table lacks, or a value that is not what its rule wants; one left undefined was not given. `where` is the function that
 * took the options, `otherwise` is said where no name of the table is near.
 */
export function checkNamed(where: string, options: object, rules: Readonly<Record<string, OptionRule>>, otherwise: string): void {
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined) continue;
    const rule = Object.hasOwn(rules, name) ? rules[name] : undefined;
    if (rule === undefined) {
      const near = nearest(name, Object.keys(rules));
      throw new TypeError(
        `${where}: there is no option ${quote(name)} (${near === undefined ? otherwise : `did you mean "${near}"?`})`,
      );
    }
    const [what, isGood] = rule;
    if (!isGood(value)) throw new TypeError(`${where}: ${name} must be ${what}`);
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
