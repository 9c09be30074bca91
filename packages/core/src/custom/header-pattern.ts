/** Whether a header name, in lower case, is one of a list. */
export type HeaderMatcher = (name: string) => boolean;

/** Compiles a header list of a provider: names, `prefix*` and `*suffix`, all in lower case (istio-semantics 3.13). */
export function compileHeaderList(list: readonly string[]): HeaderMatcher {
  const exact = new Set(list.filter((entry) => !entry.includes('*')));
  const prefixes = list.filter((entry) => entry.endsWith('*')).map((entry) => entry.slice(0, -1));
  const suffixes = list.filter((entry) => entry.startsWith('*')).map((entry) => entry.slice(1));
  return (name) =>
    exact.has(name) || prefixes.some((prefix) => name.startsWith(prefix)) || suffixes.some((suffix) => name.endsWith(suffix));
}
