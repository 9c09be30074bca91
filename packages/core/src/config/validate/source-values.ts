import { quote } from '../problem.js';

/** What is wrong with a value of `serviceAccounts`, which has the form `account` or `namespace/account` without wildcards; undefined when nothing is. */
export function findServiceAccountFault(value: string): string | undefined {
  if (value.length > 320) return 'must not be longer than 320 characters';
  if (value.includes('*')) return `wildcards are not allowed in a service account, found ${quote(value)}`;
  const parts = value.split('/');
  if (/^[^/]+\/ns\/[^/]+\/sa\/[^/]+$/.test(value))
    return `${quote(value)} is a principal: write "${parts[2]}/${parts[4]}", or put it in \`principals\``;
  if (parts.length > 2 || parts.includes('')) return `${quote(value)} must have the form "account" or "namespace/account"`;
  return undefined;
}

/** What is wrong with a value of `trustDomains`: one `*` at most, first or last, and no slash unless `slashAllowed`; undefined when nothing is. */
export function findTrustDomainFault(value: string, slashAllowed = false): string | undefined {
  if (!slashAllowed && value.includes('/')) return `a trust domain holds no "/", found ${quote(value)}`;
  const first = value.indexOf('*');
  if (first === -1) return undefined;
  if (value.indexOf('*', first + 1) !== -1) return `at most one wildcard is allowed, found ${quote(value)}`;
  return first === 0 || first === value.length - 1
    ? undefined
    : `a wildcard is only allowed first or last, found ${quote(value)}`;
}

const principalForm = 'a principal is written TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT, such as cluster.local/ns/shop/sa/web';

/** Why a value of `principals` matches no service account, as far as that can be seen (istio-semantics 3.6); undefined where one may match. */
export function findPrincipalDoubt(value: string): string | undefined {
  if (value.startsWith('spiffe://')) return 'never matches: a principal is written without spiffe://';
  if (value.startsWith('*') || value.endsWith('*')) return undefined;
  if (value.includes('*')) return 'never matches: a `*` is a wildcard only as the first or the last character';
  const parts = value.split('/');
  if (value.includes(':') || parts.length === 1 || parts.includes('')) return `never matches: ${principalForm}`;
  if (parts[0] === 'ns' || (parts.length === 2 && !value.includes('.'))) return `matches no service account: ${principalForm}`;
  return undefined;
}
