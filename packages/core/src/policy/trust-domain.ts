/** The mesh's trust domain first, then its aliases. */
export type TrustDomainBundle = readonly string[];

function isPrefixMatch(text: string, pattern: string): boolean {
  return pattern.endsWith('*') && text.startsWith(pattern.slice(0, -1));
}

function isSuffixMatch(text: string, pattern: string): boolean {
  return pattern.startsWith('*') && text.endsWith(pattern.slice(1));
}

function isOfBundle(trustDomain: string, bundle: TrustDomainBundle): boolean {
  return bundle.some(
    (member) =>
      trustDomain === member ||
      isPrefixMatch(trustDomain, member) ||
      isPrefixMatch(member, trustDomain) ||
      isSuffixMatch(trustDomain, member) ||
      isSuffixMatch(member, trustDomain),
  );
}

const isWithin = (principal: string, trustDomain: string): boolean =>
  principal.charCodeAt(trustDomain.length) === 0x2f && principal.startsWith(trustDomain);

function expandPrincipal(principal: string, bundle: TrustDomainBundle): readonly string[] {
  const [trustDomain, ...path] = principal.split('/');
  if (trustDomain === undefined || path.length !== 4 || trustDomain === '*') return [principal];
  if (trustDomain !== 'cluster.local' && !isOfBundle(trustDomain, bundle)) return [principal];
  return bundle.map((member) => (isSuffixMatch(member, trustDomain) ? principal : [member, ...path].join('/')));
}

/**
 * Replaces the trust domain of each principal that names one of the mesh's own by every member of the bundle (istio-semantics 3.10).
 * `cluster.local/...` always means the mesh's trust domain and its aliases; principals without Istio's five parts stay as they are.
 */
export function expandPrincipals(principals: readonly string[], bundle: TrustDomainBundle): readonly string[] {
  // What is written with the only trust domain there is stays as it is: nearly every principal of a mesh.
  if (bundle.length === 1 && principals.every((principal) => isWithin(principal, bundle[0] as string))) return principals;
  return principals.flatMap((principal) => [...new Set(expandPrincipal(principal, bundle))]);
}

/** Replaces a value of `trustDomains` that is a member of the bundle by all members (istio-semantics 3.10). */
export function expandTrustDomains(values: readonly string[], bundle: TrustDomainBundle): readonly string[] {
  return [...new Set(values.flatMap((value) => (bundle.includes(value) ? bundle : [value])))];
}
