import { parseBrackets } from './claims.js';
import { asHeaderBytes } from './headers.js';
import { bareHost } from './host.js';
import { createGuardWriter, type GuardWriter } from './index-code.js';
import { ofClaims, ofHeader, ofPath, ofSegment, ofValue } from './index-dimension.js';
import { createKeyTable, type Dimension, type KeyForm, type KeyTable, type Lookup } from './index-keys.js';
import { ofAccounts, ofIdentity, ofNamespaces } from './index-peer.js';
import { parseTemplate, type PathTemplate } from './path.js';
import type { PolicyOperation, PolicyRule, PolicySource } from './resource.js';
import { operationFields, sourceFields, type RuleContext } from './rule.js';
import { expandPrincipals, expandTrustDomains } from './trust-domain.js';

/** The guards of a list of rules, in its order. */
export interface Guards {
  readonly keys: KeyTable;
  readonly code: readonly number[];
  /** Where the guard of each rule begins, and behind the last one where it ends. */
  readonly starts: readonly number[];
}

/** Writes down what each rule of a list needs of a request. */
export interface GuardMaker extends Guards {
  /** Answers how many values the rule has, roughly. */
  add(rule: PolicyRule, context: RuleContext): number;
}

const nowhere: RuleContext = { namespace: '', bundle: [], refuses: true };

/** Creates the maker of guards for the rules of one action. Where a match refuses, paths are looked up in every spelling. */
export function createGuardMaker(refuses: boolean): GuardMaker {
  const keys = createKeyTable(refuses);
  const writer = createGuardWriter();
  const maker: Maker = { keys, writer, claimPaths: new Map(), context: nowhere, negative: 0 };
  const starts = [0];
  return {
    keys,
    code: writer.code,
    starts,
    add(rule, context) {
      maker.negative = 0;
      const before = writer.code.length;
      const start = writer.open();
      maker.context = context;
      if (rule.to !== undefined) writer.any(rule.to, guardOfOperation, maker);
      if (rule.from !== undefined) writer.any(rule.from, guardOfSource, maker);
      for (const { key, values, notValues } of rule.when ?? []) {
        guardOfField(maker, key, values);
        maker.negative += notValues?.length ?? 0;
      }
      writer.close(start);
      starts.push(writer.code.length);
      return writer.code.length - before + maker.negative;
    },
  };
}

/** What the guards of one list are written with. A function that writes nothing says nothing of its field. */
interface Maker {
  readonly keys: KeyTable;
  readonly writer: GuardWriter;
  /** The paths of claims by what is written for them: rules repeat them. */
  readonly claimPaths: Map<string, readonly string[]>;
  /** What the rule is written in; a member, because a function for each rule to keep it would cost more than all else. */
  context: RuleContext;
  /** Values of the rule that say nothing here, because they are negative. */
  negative: number;
}

function writeKey({ keys, writer }: Maker, dimension: Dimension, form: KeyForm, text: string, path?: readonly string[]): void {
  writer.code.push(keys.key(dimension, form, text, path));
}

/** A value in Istio's string syntax (istio-semantics 3.5). */
function writeText(maker: Maker, dimension: Dimension, value: string, path?: readonly string[]): void {
  if (value === '*') writeKey(maker, dimension, 'prefix', '', path);
  else if (value.startsWith('*')) writeKey(maker, dimension, 'suffix', value.slice(1), path);
  else if (value.endsWith('*')) writeKey(maker, dimension, 'prefix', value.slice(0, -1), path);
  else writeKey(maker, dimension, 'exact', value, path);
}

const guardOfOperation = ({ operation }: { readonly operation: PolicyOperation }, maker: Maker): void =>
  guardOfFields(maker, operation, operationFields);

const guardOfSource = ({ source }: { readonly source: PolicySource }, maker: Maker): void =>
  guardOfFields(maker, source, sourceFields);

function guardOfFields<Fields extends PolicySource | PolicyOperation>(
  maker: Maker,
  from: Fields | undefined,
  names: readonly (readonly [keyof Fields, keyof Fields, string])[],
): void {
  if (from === undefined) return;
  const start = maker.writer.open();
  for (const [positive, negative, key] of names) {
    guardOfField(maker, key, from[positive] as readonly string[] | undefined);
    maker.negative += (from[negative] as readonly string[] | undefined)?.length ?? 0;
  }
  maker.writer.close(start);
}

/** The guard of one field or condition by its positive values; negative ones, addresses and what cannot be judged tell nothing. */
function guardOfField(maker: Maker, key: string, values: readonly string[] | undefined): void {
  if (values === undefined || values.length === 0 || values.includes('')) return;
  const special = specialFields.get(key);
  if (special !== undefined) return special(maker, values);
  const lookup = textFields.get(key);
  if (lookup !== undefined)
    return writeTexts(
      maker,
      maker.keys.dimension(key, () => lookup),
      values,
    );
  if (key.startsWith('request.headers[') && key.endsWith(']')) return guardOfHeader(maker, key.slice(16, -1), values);
  if (key.startsWith('request.auth.claims[')) guardOfClaim(maker, key.slice(19), values);
}

function writeTexts(maker: Maker, dimension: Dimension, values: readonly string[], path?: readonly string[]): void {
  if (values.length === 1) writeText(maker, dimension, values[0] as string, path);
  else maker.writer.any(values, (value) => writeText(maker, dimension, value, path), undefined);
}

function guardOfHeader(maker: Maker, name: string, values: readonly string[]): void {
  const header = name.toLowerCase();
  const { refuses } = maker.keys;
  // Where spellings of the path count, the line is not what is compared.
  if (header === '' || (header === ':path' && refuses)) return;
  const dimension = maker.keys.dimension(`header ${header}`, () => ({ visit: ofHeader(header, refuses) }));
  writeTexts(maker, dimension, header === ':path' ? values : values.map(asHeaderBytes));
}

function guardOfClaim(maker: Maker, brackets: string, values: readonly string[]): void {
  let path = maker.claimPaths.get(brackets);
  if (path === undefined) {
    path = parseBrackets(brackets);
    if (path !== undefined) maker.claimPaths.set(brackets, path);
  }
  if (path === undefined || path.includes('')) return;
  writeTexts(maker, maker.keys.dimension('claims', ofUserClaims), values, path);
}

type LookupOf = () => Lookup;

const ofUserClaims: LookupOf = () => ({ visit: ofClaims });
const ofUri: LookupOf = () => ({ collect: ofIdentity });
const ofNamespace: LookupOf = () => ({ collect: ofNamespaces });
const ofAccount: LookupOf = () => ({ collect: ofAccounts });
const ofEverySpelling: LookupOf = () => ({ visit: ofPath(true) });
const ofPathAlone: LookupOf = () => ({ visit: ofPath(false) });
const host: Lookup = { visit: ofValue((request) => request.host) };
/** Where a match refuses, the bare host counts beside the host as sent. */
const hosts: Lookup = {
  visit: ofValue((request) => {
    const bare = bareHost(request.host);
    return bare === request.host ? bare : [request.host, bare];
  }),
};
const port: Lookup = { visit: ofValue(({ destinationPort }) => String(destinationPort)) };
const issuers: Lookup = { visit: ofValue(({ user }) => user?.issuer) };
const subjects: Lookup = { visit: ofValue(({ user }) => user?.subject) };

/** Fields whose values are Istio's string syntax on one text or on a list of texts. */
const textFields: ReadonlyMap<string, Lookup> = new Map<string, Lookup>([
  ['operation.method', { visit: ofValue((request) => request.method) }],
  ['connection.sni', { visit: ofValue((request) => request.sni) }],
  ['request.auth.audiences', { visit: ofValue(({ user }) => user?.audiences) }],
  ['request.auth.presenter', { visit: ofValue(({ user }) => user && (user.presenter ?? user.claims['azp'])) }],
]);

type OfValues = (maker: Maker, values: readonly string[]) => void;

const ofEach =
  (write: (value: string, maker: Maker) => void): OfValues =>
  (maker, values) =>
    maker.writer.any(values, write, maker);

/** Fields whose values are no plain texts; each key here follows from the matcher that conditions.ts makes of the same values. */
const specialFields: ReadonlyMap<string, OfValues> = new Map<string, OfValues>([
  ['source.principal', guardOfPrincipals],
  ['source.trustDomain', guardOfTrustDomains],
  ['source.namespace', ofEach(guardOfNamespace)],
  ['source.serviceAccount', ofEach(guardOfAccount)],
  ['destination.port', ofEach(guardOfPort)],
  ['request.auth.principal', ofEach(guardOfRequestPrincipal)],
  ['operation.host', ofEach(guardOfHost)],
  ['operation.path', ofEach(guardOfPath)],
]);

function guardOfPrincipals(maker: Maker, values: readonly string[]): void {
  writeTexts(maker, maker.keys.dimension('uri', ofUri), expandPrincipals(values, maker.context.bundle));
}

function guardOfTrustDomains(maker: Maker, values: readonly string[]): void {
  maker.writer.any(expandTrustDomains(values, maker.context.bundle), guardOfTrustDomain, maker);
}

function guardOfTrustDomain(value: string, maker: Maker): void {
  const uri = maker.keys.dimension('uri', ofUri);
  const star = value.indexOf('*');
  if (star === -1) writeKey(maker, uri, 'prefix', `${value}/`);
  // A star elsewhere cannot be judged, which refuses where a match refuses.
  else if (star === 0 || star === value.length - 1) writeKey(maker, uri, 'prefix', value.slice(0, star));
}

function guardOfHost(value: string, maker: Maker): void {
  const dimension = maker.keys.dimension('host', () => (maker.keys.refuses ? hosts : host));
  writeText(maker, dimension, value.toLowerCase());
}

function guardOfPort(value: string, maker: Maker): void {
  if (!/^\d{1,5}$/.test(value) || Number(value) > 65535) return;
  const dimension = maker.keys.dimension('port', () => port);
  writeKey(maker, dimension, 'exact', String(Number(value)));
}

function guardOfNamespace(value: string, maker: Maker): void {
  const dimension = maker.keys.dimension('namespace', ofNamespace);
  const star = value.indexOf('*');
  const rest = value.slice(star + 1);
  if (star === -1) writeKey(maker, dimension, 'prefix', `${value}/`);
  else if (star === 0 && rest !== '' && !rest.includes('*')) writeKey(maker, dimension, 'suffix', rest);
  else writeKey(maker, dimension, 'prefix', value.slice(0, star));
}

function guardOfAccount(value: string, maker: Maker): void {
  const parts = value.split('/');
  if (parts.length > 2 || parts.includes('')) return;
  const [first = '', second] = parts;
  const namespace = maker.keys.dimension('namespace', ofNamespace);
  const account = maker.keys.dimension('account', ofAccount);
  const start = maker.writer.open();
  writeKey(maker, account, 'exact', second ?? first);
  writeKey(maker, namespace, 'prefix', `${second === undefined ? maker.context.namespace : first}/`);
  maker.writer.close(start);
}

/** The table of istio-semantics 3.8, issuer and subject as two keys. */
function guardOfRequestPrincipal(value: string, maker: Maker): void {
  const issuer = maker.keys.dimension('issuer', () => issuers);
  const subject = maker.keys.dimension('subject', () => subjects);
  if (value === '*') return writeKey(maker, issuer, 'prefix', '');
  const slash = value.lastIndexOf('/');
  if (slash === -1 && value.startsWith('*')) return writeKey(maker, subject, 'suffix', value.slice(1));
  if (slash === -1 && value.endsWith('*')) return writeKey(maker, issuer, 'prefix', value.slice(0, -1));
  const left = slash === -1 ? value : value.slice(0, slash);
  const right = slash === -1 ? '' : value.slice(slash + 1);
  // Only one star is one: with one at both ends, the last is an ordinary character.
  const isSuffix = value.startsWith('*');
  const isPrefix = !isSuffix && value.endsWith('*');
  const start = maker.writer.open();
  writeKey(maker, subject, isPrefix ? 'prefix' : 'exact', isPrefix ? right.slice(0, -1) : right);
  writeKey(maker, issuer, isSuffix ? 'suffix' : 'exact', isSuffix ? left.slice(1) : left);
  maker.writer.close(start);
}

const beyondAscii = /[^\0-\x7f]/;

/**
 * Where every spelling counts, keys and paths are compared in lower case: that finds what matches with case too, but only for ASCII. Lower case
 * depends on neighbours elsewhere (a capital sigma ends a word in another letter), so that a part of a path need not stand in the lower case of the whole.
 */
function guardOfPath(written: string, maker: Maker): void {
  const { refuses } = maker.keys;
  if (refuses && beyondAscii.test(written)) return;
  const value = refuses ? written.toLowerCase() : written;
  const path = maker.keys.dimension('path', refuses ? ofEverySpelling : ofPathAlone);
  if (!value.includes('{') && !value.includes('}')) return writeText(maker, path, value);
  const template = parseTemplate(value);
  if (template === undefined) return;
  const start = maker.writer.open();
  guardOfTemplate(maker, path, template);
  maker.writer.close(start);
}

function guardOfTemplate(maker: Maker, path: Dimension, { head, tail }: PathTemplate): void {
  const hole = head.indexOf(undefined);
  const literal = hole === -1 ? head : head.slice(0, hole);
  writeKey(maker, path, 'prefix', `/${literal.map((segment) => `${segment}/`).join('')}`);
  const lastHole = head.lastIndexOf(undefined);
  const behind = head.slice(lastHole + 1).map((segment) => `/${segment}`);
  const end = tail ?? behind.join('');
  if (end !== '') writeKey(maker, path, 'suffix', end);
  for (const [index, segment] of head.entries()) {
    if (segment === undefined || index < literal.length) continue;
    const lookup = (): Lookup => ({ visit: ofSegment(index, maker.keys.refuses) });
    writeKey(maker, maker.keys.dimension(`segment ${index}`, lookup), 'exact', segment);
  }
}
