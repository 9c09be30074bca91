import { anyText, compileText, type AnyMeaning, type TextMatcher } from './match.js';
import { expandPrincipals, expandTrustDomains, type TrustDomainBundle } from './trust-domain.js';

const scheme = 'spiffe://';

/** Values of `principals` against a peer's SPIFFE ID with its scheme (istio-semantics 3.6), trust domain aliases expanded. */
export function compilePrincipals(values: readonly string[], bundle: TrustDomainBundle): TextMatcher {
  const matchers: TextMatcher[] = [];
  const others: string[] = [];
  for (const value of expandPrincipals(values, bundle)) {
    if (value === '*' || !value.startsWith('*')) others.push(value === '*' ? value : scheme + value);
    else {
      const suffix = value.slice(1);
      const shortest = scheme.length + suffix.length;
      matchers.push((uri) => uri.length >= shortest && uri.startsWith(scheme) && uri.endsWith(suffix));
    }
  }
  if (others.length > 0) matchers.unshift(compileText(others, 'some'));
  return anyText(matchers);
}

/** Values of `namespaces`: `/ns/<value>/` somewhere in the SPIFFE ID, every `*` of the value standing for anything (istio-semantics 3.6). */
export function compileNamespaces(values: readonly string[]): TextMatcher {
  const texts = values.map((value) => `/ns/${value}/`);
  const whole = texts.filter((text) => !text.includes('*'));
  const patterns = texts.filter((text) => text.includes('*'));
  const matchers: TextMatcher[] = whole.map((text) => (uri) => uri.includes(text));
  if (patterns.length > 0) matchers.push(anyPattern(patterns));
  return anyText(matchers);
}

/** A pattern's pieces between its `*`, and how many of them the pattern before it begins with too. */
interface Pieces {
  readonly pieces: readonly string[];
  readonly shared: number;
}

/**
 * Whether the pieces of some pattern stand in a text one behind the other. Patterns in order, so that each goes on from where the pieces that it shares
 * with the one before were found; the last piece is looked for first, because most patterns fail there.
 */
function anyPattern(patterns: readonly string[]): TextMatcher {
  let before: readonly string[] = [];
  const ordered = [...patterns].sort().map((pattern): Pieces => {
    const pieces = pattern.split('*').filter((piece) => piece !== '');
    let shared = 0;
    while (shared < pieces.length && pieces[shared] === before[shared]) shared += 1;
    before = pieces;
    return { pieces, shared };
  });
  return (text) => {
    /** Where each piece that was found ends; -1 behind a piece that was not. */
    const ends: number[] = [];
    return ordered.some(({ pieces, shared }) => {
      if (ends.length > shared) ends.length = shared;
      if (ends.at(-1) === -1 || !text.includes(pieces.at(-1) ?? '')) return false;
      for (let index = ends.length; index < pieces.length; index += 1) {
        const at = text.indexOf(pieces[index] as string, ends.at(-1) ?? 0);
        ends.push(at === -1 ? -1 : at + (pieces[index] as string).length);
        if (at === -1) return false;
      }
      return true;
    });
  };
}

/** Whether `/ns/<namespace>/` is followed in `uri` by `sa/<account>`, at once or behind at least one character and a slash, at a segment's end. */
function hasAccount(uri: string, namespace: string, account: string): boolean {
  const ends = (at: number): boolean => at === uri.length || (uri[at] === '/' && at + 1 < uri.length);
  const first = uri.indexOf(namespace, scheme.length + 1);
  if (first === -1) return false;
  for (let at = first; at !== -1; at = uri.indexOf(namespace, at + 1)) {
    const from = at + namespace.length;
    if (uri.startsWith(account, from) && ends(from + account.length)) return true;
  }
  // What stands somewhere behind any such namespace stands behind the first.
  const inner = `/${account}`;
  for (let at = uri.indexOf(inner, first + namespace.length + 1); at !== -1; at = uri.indexOf(inner, at + 1))
    if (ends(at + inner.length)) return true;
  return false;
}

/**
 * Values of `serviceAccounts`, `account` (of the policy's own namespace) or `namespace/account`, in any trust domain (istio-semantics 3.6).
 * Undefined when a value has another form.
 */
export function compileServiceAccounts(values: readonly string[], policyNamespace: string): TextMatcher | undefined {
  const matchers: TextMatcher[] = [];
  for (const value of values) {
    const parts = value.split('/');
    if (parts.length > 2 || parts.includes('')) return undefined;
    const account = `sa/${parts.at(-1)}`;
    const namespace = `/ns/${parts.length === 2 ? parts[0] : policyNamespace}/`;
    matchers.push((uri) => uri.startsWith(scheme) && hasAccount(uri, namespace, account));
  }
  return anyText(matchers);
}

function wildcardTrustDomain(prefix: string, suffix: string): TextMatcher {
  const start = scheme + prefix;
  const end = `${suffix}/`;
  const slash = end.indexOf('/');
  return (uri) => {
    if (!uri.startsWith(start)) return false;
    // The first slash of the one is that of the other, for the wildcard stands for none.
    const at = uri.indexOf('/', start.length) - slash;
    return at >= start.length && uri.startsWith(end, at);
  };
}

/**
 * Values of `trustDomains`: exact, or with one `*` at either end that stands for no slash (istio-semantics 3.6), aliases expanded.
 * Undefined when a `*` stands elsewhere.
 */
export function compileTrustDomains(values: readonly string[], bundle: TrustDomainBundle): TextMatcher | undefined {
  if (values.some((value) => value.replace('*', '').includes('*') || value.slice(1, -1).includes('*'))) return undefined;
  return anyText(
    expandTrustDomains(values, bundle).map((value) => {
      if (value === '*') return (uri) => uri.startsWith(scheme);
      if (value.startsWith('*')) return wildcardTrustDomain('', value.slice(1));
      if (value.endsWith('*')) return wildcardTrustDomain(value.slice(0, -1), '');
      const prefix = `${scheme}${value}/`;
      return (uri) => uri.startsWith(prefix);
    }),
  );
}

/** Whether an issuer and subject satisfy a field; a claim that is absent or no string satisfies nothing. */
export type RequestPrincipalMatcher = (issuer: string | undefined, subject: string | undefined) => boolean;

const exactly =
  (expected: string): TextMatcher =>
  (text) =>
    text === expected;

/** The matchers for issuer and subject that one value of `requestPrincipals` stands for (the table of istio-semantics 3.8). */
function splitRequestPrincipal(value: string, any: AnyMeaning): { readonly issuer: TextMatcher; readonly subject: TextMatcher } {
  const some = compileText(['*'], any);
  const suffix = (text: string): TextMatcher => (text === '' ? some : (found) => found.endsWith(text));
  const prefix = (text: string): TextMatcher => (text === '' ? some : (found) => found.startsWith(text));
  const slash = value.lastIndexOf('/');
  const left = slash === -1 ? value : value.slice(0, slash);
  const right = slash === -1 ? '' : value.slice(slash + 1);
  if (value === '*') return { issuer: some, subject: some };
  if (value.startsWith('*')) {
    return slash === -1
      ? { issuer: some, subject: suffix(value.slice(1)) }
      : { issuer: suffix(left.slice(1)), subject: exactly(right) };
  }
  if (value.endsWith('*')) {
    return slash === -1
      ? { issuer: prefix(value.slice(0, -1)), subject: some }
      : { issuer: exactly(left), subject: prefix(right.slice(0, -1)) };
  }
  return { issuer: exactly(left), subject: exactly(right) };
}

/** Values of `requestPrincipals` against the claims `iss` and `sub`, each of which must be a string (istio-semantics 3.8). */
export function compileRequestPrincipals(values: readonly string[], any: AnyMeaning): RequestPrincipalMatcher {
  const pairs = values.map((value) => splitRequestPrincipal(value, any));
  return (issuer, subject) => {
    if (issuer === undefined || subject === undefined) return false;
    for (const pair of pairs) if (pair.issuer(issuer) && pair.subject(subject)) return true;
    return false;
  };
}
