/**
 * Why no Host header can match this value of `hosts` or `notHosts`; undefined when one can. Capitals are fine: hosts are compared without case
 * (istio-semantics 3.7).
 */
export function findHostDoubt(value: string): string | undefined {
  const text = value.startsWith('*') ? value.slice(1) : value.endsWith('*') ? value.slice(0, -1) : value;
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(text)) return 'never matches: a host is written without scheme';
  if (/[/?#]/.test(text)) return 'never matches: a host has no path or query';
  if (text.includes('*')) return 'never matches: a `*` is a wildcard only as the first or the last character';
  if (/[^\x21-\x7e]|@/.test(text)) return 'never matches: a host holds no such character';
  return undefined;
}

/** Why no server name of TLS can match this value of `connection.sni`; undefined when one can (istio-semantics 3.7). */
export function findServerNameDoubt(value: string): string | undefined {
  return /[A-Z]/.test(value) ? 'never matches: a server name is compared in lower case' : undefined;
}
