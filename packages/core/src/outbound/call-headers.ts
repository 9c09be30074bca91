/**
 * Headers that speak for an identity inside the mesh. Application code that copies them from one request to another must not hand them to hosts
 * outside it (security.md: redirects and calls to undeclared hosts never carry identity headers).
 */
const identityHeaders: ReadonlySet<string> = new Set(['sec-istio-auth-userinfo', 'x-forwarded-client-cert', 'enmesh-hop-token']);

/** Whether a header name is one of {@link identityHeaders} in any spelling: without case, and `_` for `-`. */
export function isIdentityHeader(name: string): boolean {
  return identityHeaders.has(name.toLowerCase().replaceAll('_', '-'));
}

type Pairs = Iterable<readonly [unknown, unknown]>;

/**
 * The headers of an undici call without {@link identityHeaders}, in whatever form they came: a flat list of names and values, an iterable of
 * pairs, or an object. The same value comes back when there is nothing to remove.
 */
export function withoutIdentityHeaders<T>(headers: T): T {
  if (headers === null || headers === undefined || typeof headers !== 'object') return headers;
  if (Array.isArray(headers)) return withoutPairs(headers) as T;
  if (Symbol.iterator in headers) {
    // An iterable may be one that ends after the first reading.
    const pairs = [...(headers as unknown as Pairs)];
    return pairs.filter(([name]) => !isIdentityHeader(String(name))).flat() as T;
  }
  const names = Object.keys(headers);
  if (!names.some(isIdentityHeader)) return headers;
  return Object.fromEntries(
    names.filter((name) => !isIdentityHeader(name)).map((name) => [name, headers[name as keyof typeof headers]]),
  ) as T;
}

function withoutPairs(flat: readonly unknown[]): readonly unknown[] {
  const kept: unknown[] = [];
  for (let i = 0; i < flat.length; i += 2) if (!isIdentityHeader(String(flat[i]))) kept.push(...flat.slice(i, i + 2));
  return kept.length === flat.length ? flat : kept;
}

/** A header that a call is given: its name in lower case, and its value. */
export type HeaderLine = readonly [name: string, value: string];

/**
 * The headers of an undici call with `lines` in the place of what the application set under these names, and without {@link identityHeaders}; in the same
 * form where that is an object, else as a flat list.
 */
export function withHeaderLines<T>(headers: T, lines: readonly HeaderLine[]): T {
  const isTaken = (name: string): boolean => isIdentityHeader(name) || lines.some(([own]) => own === name.toLowerCase());
  if (headers === null || headers === undefined || typeof headers !== 'object') return lines.flat() as T;
  if (Array.isArray(headers)) {
    const kept: unknown[] = [];
    for (let i = 0; i < headers.length; i += 2) if (!isTaken(String(headers[i]))) kept.push(headers[i], headers[i + 1]);
    return [...kept, ...lines.flat()] as T;
  }
  if (Symbol.iterator in headers) {
    const pairs = [...(headers as unknown as Pairs)].filter(([name]) => !isTaken(String(name)));
    return [...pairs.flat(), ...lines.flat()] as T;
  }
  const given: Record<string, unknown> = {};
  for (const name of Object.keys(headers)) if (!isTaken(name)) given[name] = headers[name as keyof typeof headers];
  for (const [name, value] of lines) given[name] = value;
  return given as T;
}
