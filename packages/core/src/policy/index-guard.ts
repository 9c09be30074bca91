import { bareHost } from './host.js';
import { parseBrackets } from './claims.js';
import { asHeaderBytes } from './headers.js';
import { ofAccounts, ofClaims, ofHeader, ofNamespaces, ofPath, ofSegment, ofValue } from './index-dimension.js';
import { KeyTable, type Dimension, type Guard } from './index-keys.js';
import { parseTemplate, type PathTemplate } from './path.js';
import type { PolicyOperation, PolicyRule, PolicySource } from './resource.js';
import { operationFields, sourceFields, type RuleContext } from './rule.js';
import { expandPrincipals, expandTrustDomains } from './trust-domain.js';

const nothing: Guard = { all: [] };

/** Makes the guards of rules, giving equal keys and dimensions one object; one per index. */
export interface GuardMaker {
  guardOf(rule: PolicyRule, context: RuleContext): Guard;
}

/** Creates the maker of guards for the rules of one action. Where a match refuses, paths are looked up in every spelling. */
export function createGuardMaker(refuses: boolean): GuardMaker {
  const maker = new KeyTable(refuses);
  return {
    guardOf(rule, context) {
      const parts: Guard[] = [];
      if (rule.to !== undefined && rule.to.length > 0) {
        parts.push(anyOf(rule.to.map(({ operation }) => guardOfFields(maker, operation, operationFields, context))));
      }
      if (rule.from !== undefined && rule.from.length > 0) {
        parts.push(anyOf(rule.from.map(({ source }) => guardOfFields(maker, source, sourceFields, context))));
      }
      for (const { key, values } of rule.when ?? []) parts.push(guardOfField(maker, key, values, context));
      return allOf(parts);
    },
  };
}

/** The guards of several values, any of which may match. */
function anyOfEach(values: readonly string[], guardOf: (value: string) => Guard): Guard {
  return values.length === 1 ? guardOf(values[0] as string) : anyOf(values.map(guardOf));
}

const isNothing = (guard: Guard): boolean => 'all' in guard && guard.all.length === 0;

function allOf(guards: readonly Guard[]): Guard {
  const telling = guards.filter((guard) => !isNothing(guard));
  return telling.length === 1 ? (telling[0] as Guard) : { all: telling };
}

function anyOf(guards: readonly Guard[]): Guard {
  if (guards.some(isNothing)) return nothing;
  return guards.length === 1 ? (guards[0] as Guard) : { any: guards };
}

function guardOfFields<Fields extends PolicySource | PolicyOperation>(
  maker: KeyTable,
  from: Fields | undefined,
  names: readonly (readonly [keyof Fields, keyof Fields, string])[],
  context: RuleContext,
): Guard {
  const guards: Guard[] = [];
  if (from === undefined) return nothing;
  for (const [positive, , key] of names) {
    const values = from[positive] as readonly string[] | undefined;
    if (values !== undefined) guards.push(guardOfField(maker, key, values, context));
  }
  return allOf(guards);
}

/** The guard of one field or condition by its positive values; negative ones, addresses and what cannot be judged tell nothing. */
function guardOfField(maker: KeyTable, key: string, values: readonly string[] | undefined, context: RuleContext): Guard {
  if (values === undefined || values.length === 0 || values.includes('')) return nothing;
  const special = specialFields.get(key);
  if (special !== undefined) return special(maker, values, context);
  const read = textFields.get(key);
  if (read !== undefined)
    return anyOf(
      values.map((value) =>
        maker.text(
          maker.dimension(key, () => ofValue(read)),
          value,
        ),
      ),
    );
  if (key.startsWith('request.headers[') && key.endsWith(']')) return guardOfHeader(maker, key.slice(16, -1), values);
  return key.startsWith('request.auth.claims[') ? guardOfClaim(maker, key.slice(19), values) : nothing;
}

function guardOfHeader(maker: KeyTable, name: string, values: readonly string[]): Guard {
  const header = name.toLowerCase();
  // Where spellings of the path count, the line is not what is compared.
  if (header === '' || (header === ':path' && maker.refuses)) return nothing;
  const bytes = header === ':path' ? values : values.map(asHeaderBytes);
  const dimension = maker.dimension(`header ${header}`, () => ofHeader(header, maker.refuses));
  return anyOf(bytes.map((value) => maker.text(dimension, value)));
}

function guardOfClaim(maker: KeyTable, brackets: string, values: readonly string[]): Guard {
  const path = parseBrackets(brackets);
  if (path === undefined || path.includes('')) return nothing;
  const dimension = maker.dimension('claims', () => ofClaims);
  return anyOfEach(values, (value) => maker.text(dimension, value, path));
}

type Read = Parameters<typeof ofValue>[0];

/** Fields whose values are Istio's string syntax on one text or on a list of texts. */
const textFields: ReadonlyMap<string, Read> = new Map<string, Read>([
  ['operation.method', (request) => request.method],
  ['connection.sni', (request) => request.sni],
  ['request.auth.audiences', ({ user }) => user?.audiences],
  ['request.auth.presenter', ({ user }) => user && (user.presenter ?? user.claims['azp'])],
]);

const readUri: Read = ({ peer }) => peer?.uri;
const readHost: Read = ({ host }) => host;
/** Where a match refuses, the bare host counts beside the host as sent. */
const readHosts: Read = ({ host }) => {
  const bare = bareHost(host);
  return bare === host ? host : [host, bare];
};
const readPort: Read = ({ destinationPort }) => String(destinationPort);
const readIssuer: Read = ({ user }) => user?.issuer;
const readSubject: Read = ({ user }) => user?.subject;

type OfValues = (maker: KeyTable, values: readonly string[], context: RuleContext) => Guard;

const scheme = 'spiffe://';

/** Fields whose values are no plain texts; each key here follows from the matcher that conditions.ts makes of the same values. */
const specialFields: ReadonlyMap<string, OfValues> = new Map<string, OfValues>([
  ['source.principal', guardOfPrincipals],
  ['source.trustDomain', guardOfTrustDomains],
  ['source.namespace', (maker, values) => anyOfEach(values, (value) => guardOfNamespace(maker, value))],
  [
    'source.serviceAccount',
    (maker, values, context) => anyOfEach(values, (value) => guardOfAccount(maker, value, context.namespace)),
  ],
  ['destination.port', (maker, values) => anyOfEach(values, (value) => guardOfPort(maker, value))],
  ['request.auth.principal', (maker, values) => anyOfEach(values, (value) => guardOfRequestPrincipal(maker, value))],
  ['operation.host', guardOfHosts],
  ['operation.path', (maker, values) => anyOfEach(values, (value) => guardOfPath(maker, value))],
]);

function guardOfPrincipals(maker: KeyTable, values: readonly string[], { bundle }: RuleContext): Guard {
  const uri = maker.dimension('uri', () => ofValue(readUri));
  return anyOf(expandPrincipals(values, bundle).map((value) => maker.text(uri, value.startsWith('*') ? value : scheme + value)));
}

function guardOfTrustDomains(maker: KeyTable, values: readonly string[], { bundle }: RuleContext): Guard {
  const uri = maker.dimension('uri', () => ofValue(readUri));
  return anyOf(
    expandTrustDomains(values, bundle).map((value) => {
      const star = value.indexOf('*');
      if (star === -1) return maker.key(uri, 'prefix', `${scheme}${value}/`);
      // A star elsewhere cannot be judged, which refuses where a match refuses.
      return star !== 0 && star !== value.length - 1 ? nothing : maker.key(uri, 'prefix', scheme + value.slice(0, star));
    }),
  );
}

function guardOfHosts(maker: KeyTable, values: readonly string[]): Guard {
  const host = maker.dimension('host', () => ofValue(maker.refuses ? readHosts : readHost));
  return anyOfEach(values, (value) => maker.text(host, value.toLowerCase()));
}

function guardOfPort(maker: KeyTable, value: string): Guard {
  if (!/^\d{1,5}$/.test(value) || Number(value) > 65535) return nothing;
  return maker.key(
    maker.dimension('port', () => ofValue(readPort)),
    'exact',
    String(Number(value)),
  );
}

function guardOfNamespace(maker: KeyTable, value: string): Guard {
  const dimension = maker.dimension('namespace', () => ofNamespaces);
  const star = value.indexOf('*');
  if (star === -1) return maker.key(dimension, 'prefix', `${value}/`);
  const rest = value.slice(star + 1);
  if (star === 0 && rest !== '' && !rest.includes('*')) return maker.key(dimension, 'suffix', rest);
  return maker.key(dimension, 'prefix', value.slice(0, star));
}

function guardOfAccount(maker: KeyTable, value: string, policyNamespace: string): Guard {
  const parts = value.split('/');
  if (parts.length > 2 || parts.includes('')) return nothing;
  const [first = '', second] = parts;
  const namespace = maker.dimension('namespace', () => ofNamespaces);
  const account = maker.dimension('account', () => ofAccounts);
  return {
    all: [
      maker.key(account, 'exact', second ?? first),
      maker.key(namespace, 'prefix', `${second === undefined ? policyNamespace : first}/`),
    ],
  };
}

/** The table of istio-semantics 3.8, issuer and subject as two keys. */
function guardOfRequestPrincipal(maker: KeyTable, value: string): Guard {
  const issuer = maker.dimension('issuer', () => ofValue(readIssuer));
  const subject = maker.dimension('subject', () => ofValue(readSubject));
  const slash = value.lastIndexOf('/');
  const left = slash === -1 ? value : value.slice(0, slash);
  const right = slash === -1 ? '' : value.slice(slash + 1);
  const both = (one: Guard, other: Guard): Guard => ({ all: [one, other] });
  const any = maker.key(issuer, 'prefix', '');
  if (value === '*') return any;
  if (value.startsWith('*')) {
    return slash === -1
      ? maker.key(subject, 'suffix', value.slice(1))
      : both(maker.key(subject, 'exact', right), maker.key(issuer, 'suffix', left.slice(1)));
  }
  if (value.endsWith('*')) {
    return slash === -1
      ? maker.key(issuer, 'prefix', value.slice(0, -1))
      : both(maker.key(subject, 'prefix', right.slice(0, -1)), maker.key(issuer, 'exact', left));
  }
  return both(maker.key(subject, 'exact', right), maker.key(issuer, 'exact', left));
}

const isAscii = (text: string): boolean => {
  for (let at = 0; at < text.length; at += 1) if (text.charCodeAt(at) > 127) return false;
  return true;
};

/**
 * Where every spelling counts, keys and paths are compared in lower case: that finds what matches with case too, but only for ASCII, where
 * lower case of a part is part of the lower case.
 */
function guardOfPath(maker: KeyTable, written: string): Guard {
  if (maker.refuses && !isAscii(written)) return nothing;
  const value = maker.refuses ? written.toLowerCase() : written;
  const path = maker.dimension('path', () => ofPath(maker.refuses));
  if (!value.includes('{') && !value.includes('}')) return maker.text(path, value);
  const template = parseTemplate(value);
  return template === undefined ? nothing : guardOfTemplate(maker, path, template);
}

function guardOfTemplate(maker: KeyTable, path: Dimension, { head, tail }: PathTemplate): Guard {
  const hole = head.indexOf(undefined);
  const literal = hole === -1 ? head : head.slice(0, hole);
  const lastHole = head.lastIndexOf(undefined);
  const end =
    tail ??
    head
      .slice(lastHole + 1)
      .map((segment) => `/${segment}`)
      .join('');
  const guards: Guard[] = [maker.key(path, 'prefix', `/${literal.map((segment) => `${segment}/`).join('')}`)];
  if (end !== '') guards.push(maker.key(path, 'suffix', end));
  for (const [index, segment] of head.entries()) {
    if (segment === undefined || index < literal.length) continue;
    guards.push(
      maker.key(
        maker.dimension(`segment ${index}`, () => ofSegment(index, maker.refuses)),
        'exact',
        segment,
      ),
    );
  }
  return { all: guards };
}
