/** Quotes a literal for a regular expression. */
const quote = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');

/** A full match as RE2 makes it: `.` is any character but a line feed. */
export const fullMatch = (pattern: string, text: string): boolean =>
  new RegExp(`^(?:${pattern.replaceAll('<any>', '[^\\n]')})$`, 'u').test(text);

/** The default string matcher (3.5). */
export function matchesText(value: string, text: string): boolean {
  if (value === '*') return fullMatch('<any>+', text);
  if (value.startsWith('*')) return text.endsWith(value.slice(1));
  if (value.endsWith('*')) return text.startsWith(value.slice(0, -1));
  return text === value;
}

/** The matcher of headers: `*` is presence, also of an empty value (3.9). */
export const matchesHeader = (value: string, text: string): boolean => value === '*' || matchesText(value, text);

/** `principals` (3.6); the text is the peer's URI. */
export function matchesPrincipal(value: string, uri: string): boolean {
  if (value === '*') return uri !== '';
  if (value.startsWith('*')) return fullMatch(`spiffe://<any>*${quote(value.slice(1))}`, uri);
  return matchesText(`spiffe://${value}`, uri);
}

export function matchesNamespace(value: string, uri: string): boolean {
  return fullMatch(`<any>*/ns/${value.split('*').map(quote).join('<any>*')}/<any>*`, uri);
}

/** `sa` of the policy's namespace, or `ns/sa`. */
export function matchesServiceAccount(value: string, uri: string, policyNamespace: string): boolean {
  const slash = value.indexOf('/');
  const namespace = slash === -1 ? policyNamespace : value.slice(0, slash);
  const account = value.slice(slash + 1);
  return fullMatch(`spiffe://<any>+/ns/${quote(namespace)}/(<any>+/|)sa/${quote(account)}(/<any>+)?`, uri);
}

export function matchesTrustDomain(value: string, uri: string): boolean {
  if (value === '*') return uri.startsWith('spiffe://');
  const star = value.indexOf('*');
  if (star === -1) return uri.startsWith(`spiffe://${value}/`);
  return fullMatch(`spiffe://${quote(value.slice(0, star))}[^/]*${quote(value.slice(star + 1))}/<any>*`, uri);
}

const templateChar = "[A-Za-z0-9\\-._~%!$&'()+,;:@=*]";
const templateChars = "[A-Za-z0-9\\-._~%!$&'()+,;:@=*/]";

/** `paths`: a template where it holds `{*}` or `{**}` (3.7). */
export function matchesPath(value: string, path: string): boolean {
  if (!value.includes('{*}') && !value.includes('{**}')) return matchesText(value, path);
  const segments = value.split('/').map((segment) => {
    if (segment === '{*}') return `${templateChar}+`;
    return segment === '{**}' ? `${templateChars}*` : quote(segment);
  });
  return fullMatch(segments.join('/'), path);
}

/** An address as its version and number. */
function addressOf(text: string): { bits: number; value: bigint } | undefined {
  if (/^[0-9.]+$/.test(text)) {
    const parts = text.split('.');
    if (parts.length !== 4) return undefined;
    return { bits: 32, value: parts.reduce((sum, part) => (sum << 8n) | BigInt(part), 0n) };
  }
  const [bare = ''] = text.split('%');
  const dotted = /^(.*:)([0-9.]+)$/.exec(bare);
  const tail = dotted?.[2]?.includes('.') ? addressOf(dotted[2]) : undefined;
  const hex =
    tail === undefined ? bare : `${dotted?.[1]}${(tail.value >> 16n).toString(16)}:${(tail.value & 0xffffn).toString(16)}`;
  const [left = '', right] = hex.split('::');
  const groups = (side: string): string[] => (side === '' ? [] : side.split(':'));
  const zeros = right === undefined ? 0 : 8 - groups(left).length - groups(right).length;
  const all = [...groups(left), ...Array<string>(zeros).fill('0'), ...groups(right ?? '')];
  return { bits: 128, value: all.reduce((sum, group) => (sum << 16n) | BigInt(`0x${group}`), 0n) };
}

/** An address or a CIDR block; one version never matches the other. */
export function matchesAddress(value: string, text: string): boolean {
  const [base = '', length] = value.split('/');
  const [block, address] = [addressOf(base), addressOf(text)];
  if (block === undefined || address === undefined || block.bits !== address.bits) return false;
  const rest = BigInt(block.bits - (length === undefined ? block.bits : Number(length)));
  return block.value >> rest === address.value >> rest;
}

/** `requestPrincipals` on the claims `iss` and `sub` (3.8). */
export function matchesRequestPrincipal(value: string, iss: unknown, sub: unknown): boolean {
  if (typeof iss !== 'string' || typeof sub !== 'string') return false;
  const some = (text: string): boolean => matchesText('*', text);
  if (value === '*') return some(iss) && some(sub);
  const slash = value.lastIndexOf('/');
  const [left, right] = slash === -1 ? [value, ''] : [value.slice(0, slash), value.slice(slash + 1)];
  if (value.startsWith('*')) {
    if (slash === -1) return some(iss) && sub.endsWith(value.slice(1));
    return (left === '*' ? some(iss) : iss.endsWith(left.slice(1))) && sub === right;
  }
  if (value.endsWith('*')) {
    if (slash === -1) return iss.startsWith(value.slice(0, -1)) && some(sub);
    return iss === left && (right === '*' ? some(sub) : sub.startsWith(right.slice(0, -1)));
  }
  return iss === left && sub === right;
}
