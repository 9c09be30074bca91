/** What a literal segment beside a template's operators may hold (RFC 3986's pchar without `[` and `]`). */
const literalSegment = /^[a-zA-Z0-9\-._~%!$&'()+,;:@=]+$/;

/**
 * What is wrong with a value of `paths` or `notPaths`; undefined when nothing is. A brace may only form a whole segment `{*}` or `{**}`, `{**}` is the last
 * operator, and the other segments of a template are literals (istio-semantics 3.14 item 11). Beyond Istio, a template must begin with one slash:
 * Istio admits others, which no path can match and which end Envoy while it loads them (istio-semantics 3.7).
 */
export function findPathFault(path: string): string | undefined {
  if (!/[{}]/.test(path)) return undefined;
  const segments = trimSlashes(path).split('/');
  const isTemplate = segments.some((segment) => isOperator(segment));
  let rest = true;
  for (const segment of segments) {
    if (isOperator(segment)) {
      if (!rest) return 'no operator may follow {**}';
      rest = segment !== '{**}';
    } else if (/[{}]/.test(segment)) {
      return 'a brace may only form a whole segment {*} or {**}';
    } else if (isTemplate && !literalSegment.test(segment)) {
      return 'beside {*} and {**} a template may only hold literal segments: no wildcard, query, space or empty segment';
    }
  }
  return /^\/(?!\/)/.test(path) ? undefined : 'a template must begin with one slash';
}

function isOperator(segment: string): boolean {
  return segment === '{*}' || segment === '{**}';
}

function trimSlashes(path: string): string {
  let start = 0;
  let end = path.length;
  while (start < end && path[start] === '/') start++;
  while (end > start && path[end - 1] === '/') end--;
  return path.slice(start, end);
}
