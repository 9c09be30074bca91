import { checkNamed, flag, map, type OptionRule } from '../config/option-rules.js';
import type { DoorOptions } from './door.js';

const isPort = (value: unknown, least: number): boolean =>
  Number.isInteger(value) && (value as number) >= least && (value as number) <= 65_535;
const milliseconds: OptionRule = ['a positive number of milliseconds', (value) => typeof value === 'number' && value > 0];

/** Each option of `mesh.createServer` once: the compiler refuses a table that lacks one. */
const rules: Readonly<Record<keyof DoorOptions | 'probePort', OptionRule>> = {
  workloadPort: ['a port, from 1 to 65535', (value) => isPort(value, 1)],
  router: map,
  http: map,
  sniffTimeoutMs: milliseconds,
  handshakeTimeoutMs: milliseconds,
  rejudgeOpen: flag,
  probePort: ['a port, from 0 to 65535', (value) => isPort(value, 0)],
};

/**
 * Refuses, with `TypeError`, an option that `mesh.createServer` does not have or of another type: a misspelt `workloadPort` would put the policies of another port
 * in force.
 */
export function checkServerOptions(options: unknown): void {
  if (typeof options !== 'object' || options === null) throw new TypeError('createServer: the options must be an object');
  checkNamed('createServer', options, rules, `there are ${Object.keys(rules).join(', ')}`);
}
