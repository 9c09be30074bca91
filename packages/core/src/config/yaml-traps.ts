/**
 * Kubernetes reads YAML by version 1.1's rules, enmesh by version 1.2's. Where the two differ for an unquoted scalar, a policy would mean
 * one thing in the cluster and another here; such scalars are refused instead of being given either meaning.
 */
const booleans = new Set([
  'y',
  'Y',
  'n',
  'N',
  ...['yes', 'no', 'on', 'off'].flatMap((word) => [word, word.toUpperCase(), word[0]!.toUpperCase() + word.slice(1)]),
]);
const digitsWithUnderscores = /^[-+]?[0-9][0-9_]*(?:\.[0-9_]*)?(?:[eE][-+]?[0-9_]+)?$/;
const radixWithUnderscores = /^[-+]?0(?:[xX][0-9a-fA-F_]+|[oO][0-7_]+|[bB][01_]+)$/;
const leadingZero = /^[-+]?0[0-9]/;

/**
 * What Kubernetes makes of the unquoted scalar `plain` where that is not what YAML 1.2 makes of it: the words of a message.
 * Undefined where both agree.
 */
export function kubernetesReading(plain: string): string | undefined {
  const first = plain.charCodeAt(0);
  const isLetter = first > 0x40;
  if (isLetter) return booleans.has(plain) ? 'a boolean' : undefined;
  if (first > 0x39 || !(digitsWithUnderscores.test(plain) || radixWithUnderscores.test(plain))) return undefined;
  if (plain.includes('_')) return 'a number without the underscores';
  if (/^[-+]?0[bB]/.test(plain) || (/^[-+]?0[xXoO]/.test(plain) && /^[-+]|[XO]/.test(plain))) return 'a number';
  return leadingZero.test(plain) && !/[.eE]/.test(plain) ? 'an octal number' : undefined;
}
