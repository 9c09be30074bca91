import { quote } from '../config/problem.js';
import { nearest } from '../config/spelling.js';
import type { DoorOptions } from './door.js';

type Rule = readonly [what: string, isGood: (value: unknown) => boolean];

const isPort = (value: unknown, least: number): boolean =>
  Number.isInteger(value) && (value as number) >= least && (value as number) <= 65_535;
const milliseconds: Rule = ['a positive number of milliseconds', (value) => typeof value === 'number' && value > 0];
const map: Rule = ['an object', (value) => typeof value === 'object' && value !== null && !Array.isArray(value)];

/** Each option of `mesh.createServer` once: the compiler refuses a table that lacks one. */
const rules: Readonly<Record<keyof DoorOptions | 'probePort', Rule>> = {
  workloadPort: ['a port, from 1 to 65535', (value) => isPort(value, 1)],
  router: map,
  http: map,
  sniffTimeoutMs: milliseconds,
  handshakeTimeoutMs: milliseconds,
  rejudgeOpen: ['true or false', (value) => typeof value === 'boolean'],
  probePort: ['a port, from 0 to 65535', (value) => isPort(value, 0)],
};

/**
 * Refuses, with `TypeError`, an option that `mesh.createServer` does not have or of another type: a misspelt `workloadPort` would put the policies of another port
 * in force.
 */
export function checkServerOptions(options: unknown): void {
  if (typeof options !== 'object' || options === null) throw new TypeError('createServer: the options must be an object');
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined) continue;
    if (!Object.hasOwn(rules, name)) {
      const near = nearest(name, Object.keys(rules));
      const hint = near === undefined ? `there are ${Object.keys(rules).join(', ')}` : `did you mean "${near}"?`;
      throw new TypeError(`createServer: there is no option ${quote(name)} (${hint})`);
    }
    const [what, isGood] = rules[name as keyof typeof rules];
    if (!isGood(value)) throw new TypeError(`createServer: ${name} must be ${what}`);
  }
}
