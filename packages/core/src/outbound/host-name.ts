/** The cluster's DNS domain: Kubernetes Services live under `.svc.cluster.local`, whatever the trust domain is called. */
export const clusterDomain = 'cluster.local';

const hostName = /^[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*$/;
const ipv6Literal = /^\[[0-9a-f:.]+\]$/;
const longestHostName = 253;

/**
 * The form in which hosts are compared: ASCII, lower case, one trailing dot removed; IPv6 literals keep their brackets.
 * Undefined for anything else (other characters, empty labels, over 253 characters): the caller refuses with
 * `ENMESH_OUTBOUND_HOST_INVALID`, because a name that two parsers read differently has no identity to expect.
 */
export function parseHostName(text: string): string | undefined {
  if (text.length > longestHostName + 1) return undefined;
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return undefined;
  const lower = text.toLowerCase();
  const name = lower.endsWith('.') ? lower.slice(0, -1) : lower;
  if (name.length > longestHostName) return undefined;
  return hostName.test(name) || ipv6Literal.test(lower) ? (name === '' ? undefined : name) : undefined;
}

/** Whether `pattern` (`*`, `*.x` or an exact name) matches `host`, which may itself be a wildcard (istio-semantics 5.1, "most specific host"). */
export function matchesHost(pattern: string, host: string): boolean {
  if (!pattern.startsWith('*')) return pattern === host;
  const tail = host.startsWith('*') ? host.slice(1) : host;
  return pattern === host || tail.endsWith(pattern.slice(1));
}

/**
 * The full names that a short form may mean for a client of `namespace`: `product` is looked up in the client's own namespace,
 * `product.shop` and `product.shop.svc` from anywhere.
 */
export function fullNames(host: string, namespace: string): readonly string[] {
  if (host.startsWith('[')) return [];
  if (!host.includes('.')) return [`${host}.${namespace}.svc.${clusterDomain}`];
  const names = [`${host}.svc.${clusterDomain}`];
  if (host.endsWith('.svc')) names.push(`${host}.${clusterDomain}`);
  return names;
}
