import type { RequestAttributes } from '../request/attributes.js';
import type { TextMatcher } from './match.js';

/** The names between the brackets of `[a][b]`; text whose brackets do not nest is one literal name (istio-semantics 3.9). Undefined without brackets. */
export function parseBrackets(text: string): readonly string[] | undefined {
  if (!text.startsWith('[') || !text.endsWith(']')) return undefined;
  const names = text.slice(1, -1).split('][');
  return names.some((name) => name.includes('[') || name.includes(']')) ? [text.slice(1, -1)] : names;
}

/** Whether a claim is a string that matches, or a list with such a string. Numbers, booleans, objects and null never match. */
export function matchesClaim(claim: unknown, matches: TextMatcher): boolean {
  if (typeof claim === 'string') return matches(claim);
  if (!Array.isArray(claim)) return false;
  for (const item of claim as readonly unknown[]) if (typeof item === 'string' && matches(item)) return true;
  return false;
}

/** The claim at a path of names, each member of the object before it; undefined when there is none. */
export function claimAt(claims: Readonly<Record<string, unknown>>, path: readonly string[]): unknown {
  let value: unknown = claims;
  for (const name of path) {
    if (typeof value !== 'object' || value === null || Array.isArray(value) || !Object.hasOwn(value, name)) return undefined;
    value = (value as Readonly<Record<string, unknown>>)[name];
  }
  return value;
}

/** Values of `request.auth.claims[a][b]` against the claim at that path of the verified token. */
export function compileClaim(path: readonly string[], matches: TextMatcher): (request: RequestAttributes) => boolean {
  const [only] = path;
  if (path.length === 1 && only !== undefined) {
    return ({ user }) => user !== undefined && Object.hasOwn(user.claims, only) && matchesClaim(user.claims[only], matches);
  }
  return ({ user }) => user !== undefined && matchesClaim(claimAt(user.claims, path), matches);
}
