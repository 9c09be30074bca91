import { optional } from './draft.js';
import { RefusedError, type Fields } from './fields.js';

/** Fields of a subject of ServiceRoleBinding, from 1.0 to 1.3. */
export const subjectFields = [
  ...['user', 'group', 'properties', 'names', 'notNames', 'groups', 'notGroups'],
  ...['namespaces', 'notNamespaces', 'ips', 'notIps'],
];

/** Who may call: one `source` (undefined: anybody) and the conditions that stand beside it. */
export interface ConvertedSubject {
  readonly source: Readonly<Record<string, readonly string[]>> | undefined;
  readonly when: readonly Readonly<Record<string, unknown>>[];
  readonly notes: readonly string[];
}

type Source = Record<string, string[]>;

const groupsKey = 'request.auth.claims[groups]';

/** Which property of a legacy subject is which field of `source` today; the others are keys of `when`. */
const sourceProperties: Readonly<Record<string, string>> = {
  'source.principal': 'principals',
  'source.namespace': 'namespaces',
  'source.ip': 'ipBlocks',
  'request.auth.principal': 'requestPrincipals',
};

const whenProperties = /^request\.(headers\[[^\]]+\]|auth\.audiences|auth\.presenter|auth\.claims(\[[^\]]+\])+)$/;

/** One subject of a ServiceRoleBinding. All of its fields must hold, as in one `source` with its `when`. */
export function convertSubject(subject: Fields): ConvertedSubject {
  const source: Source = {};
  const when: Record<string, unknown>[] = [];
  const notes: string[] = [];
  const narrow = (field: string, values: readonly string[], path: string): void => {
    if (source[field] !== undefined) throw new RefusedError(path, `it says ${field} twice, and both would have to hold`);
    source[field] = [...values];
  };
  const user = subject.text('user');
  if (user !== undefined && user !== '*') narrow('principals', [principal(user, notes)], `${subject.path}.user`);
  for (const [field, name] of [
    ['principals', 'names'],
    ['notPrincipals', 'notNames'],
  ] as const) {
    const names = subject.texts(name)?.map((one) => principal(one, notes));
    if (names !== undefined) narrow(field, names, `${subject.path}.${name}`);
  }
  for (const [field, name] of [
    ['namespaces', 'namespaces'],
    ['notNamespaces', 'notNamespaces'],
    ['ipBlocks', 'ips'],
    ['notIpBlocks', 'notIps'],
  ] as const) {
    const values = subject.texts(name);
    if (values !== undefined) narrow(field, values, `${subject.path}.${name}`);
  }
  addGroups(subject, when, notes);
  for (const [key, value] of subject.entries('properties'))
    addProperty({ key, value, path: `${subject.path}.properties`, narrow, when, notes });
  const isAnybody = Object.keys(source).length === 0;
  if (isAnybody && when.length === 0 && user === undefined) throw new RefusedError(subject.path, 'it names nobody');
  return { source: isAnybody ? undefined : source, when, notes };
}

function addGroups(subject: Fields, when: Record<string, unknown>[], notes: string[]): void {
  const group = subject.text('group');
  const groups = [...(group === undefined ? [] : [group]), ...(subject.texts('groups') ?? [])];
  const notGroups = subject.texts('notGroups');
  if (groups.length === 0 && notGroups === undefined) return;
  when.push({
    key: groupsKey,
    ...optional('values', groups.length === 0 ? undefined : groups),
    ...optional('notValues', notGroups),
  });
  notes.push('groups are the claim groups of the token');
}

function addProperty(o: {
  key: string;
  value: string;
  path: string;
  narrow: (field: string, values: readonly string[], path: string) => void;
  when: Record<string, unknown>[];
  notes: string[];
}): void {
  const path = `${o.path}[${JSON.stringify(o.key)}]`;
  const field = Object.hasOwn(sourceProperties, o.key) ? sourceProperties[o.key] : undefined;
  if (field !== undefined) o.narrow(field, [field === 'principals' ? principal(o.value, o.notes) : o.value], path);
  else if (whenProperties.test(o.key)) o.when.push({ key: o.key, values: [o.value] });
  else throw new RefusedError(path, 'this property has no successor');
}

function principal(text: string, notes: string[]): string {
  const bare = text.replace(/^spiffe:\/\//, '');
  if (bare !== text) notes.push('principals are written without spiffe://');
  if (!/^[^/]+\/ns\/[^/]+\/sa\/[^/]+$/.test(bare) && !bare.startsWith('*') && !bare.endsWith('*')) {
    notes.push(
      'a user that is no trust-domain/ns/../sa/.. was a user of a token (USE_ORIGIN): requestPrincipals: ["issuer/subject"] would say that',
    );
  }
  return bare;
}
