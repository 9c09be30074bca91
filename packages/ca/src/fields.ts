import { EnmeshError } from '@enmesh/core/issuance';

/** Turns a parsed value into a typed one, or throws `ENMESH_CA_SETTINGS` naming `where` it stands. */
export type Reader<T> = (value: unknown, where: string) => T;

/** The error of a setting that cannot be. */
export function settingsError(where: string, problem: string): EnmeshError {
  return new EnmeshError('ENMESH_CA_SETTINGS', `${where === '' ? 'The settings' : where}: ${problem}`);
}

/** An object with these members and no others; a reader is given undefined for a member that is absent. */
export function readObject<T extends object>(readers: { readonly [Name in keyof T]: Reader<T[Name]> }): Reader<T> {
  return (value, where) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw settingsError(where, 'must be an object');
    const members = value as Readonly<Record<string, unknown>>;
    const unknown = Object.keys(members).find((name) => !Object.hasOwn(readers, name));
    const place = (name: string): string => (where === '' ? name : `${where}.${name}`);
    if (unknown !== undefined)
      throw settingsError(place(unknown), `there is no such setting (known: ${Object.keys(readers).join(', ')})`);
    const entries = Object.entries(readers) as [string, Reader<unknown>][];
    const member = (name: string): unknown => (Object.hasOwn(members, name) ? members[name] : undefined);
    return Object.fromEntries(entries.map(([name, reader]) => [name, reader(member(name), place(name))])) as T;
  };
}

/** A reader for a member that may be absent, or YAML's null. */
export function optional<T>(reader: Reader<T>, absent: T): Reader<T>;
export function optional<T>(reader: Reader<T>): Reader<T | undefined>;
export function optional<T>(reader: Reader<T>, absent?: T): Reader<T | undefined> {
  return (value, where) => (value === undefined || value === null ? absent : reader(value, where));
}

/** A list of at most 1000 items. */
export function readList<T>(reader: Reader<T>): Reader<readonly T[]> {
  return (value, where) => {
    if (!Array.isArray(value)) throw settingsError(where, 'must be a list');
    if (value.length > 1000) throw settingsError(where, 'has more than 1000 items');
    return value.map((item, at) => reader(item, `${where}[${at}]`));
  };
}

/** A text that is not empty. */
export const readText: Reader<string> = (value, where) => {
  if (typeof value !== 'string' || value === '') throw settingsError(where, 'must be a text');
  return value;
};

/** true or false. */
export const readFlag: Reader<boolean> = (value, where) => {
  if (typeof value !== 'boolean') throw settingsError(where, 'must be true or false');
  return value;
};

/** A whole number within bounds. */
export function readCount(least: number, most: number): Reader<number> {
  return (value, where) => {
    if (typeof value !== 'number' || !Number.isInteger(value) || value < least || value > most)
      throw settingsError(where, `must be a whole number from ${least} to ${most}`);
    return value;
  };
}

const units: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };

/** A duration such as `90s`, `15m`, `24h` or `7d`, in seconds. */
export const parseDuration: Reader<number> = (value, where) => {
  const [, amount = '', unit = ''] = /^([1-9]\d{0,8})([smhd])$/.exec(typeof value === 'string' ? value : '') ?? [];
  const factor = units[unit];
  if (factor === undefined) throw settingsError(where, 'must be a duration such as 90s, 15m, 24h or 7d');
  return Number(amount) * factor;
};
