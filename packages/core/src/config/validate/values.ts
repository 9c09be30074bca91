import { isIP } from 'node:net';
import { quote } from '../problem.js';
import { invalidAt, refined, text, type Shape } from '../shape.js';

/** Whether `value` is an IP address or a CIDR range as Go's netip reads them: no leading zeros, a zone only without a prefix length. */
export function isIpBlock(value: string): boolean {
  const slash = value.indexOf('/');
  if (slash === -1) return isIP(value) !== 0;
  const version = isIP(value.slice(0, slash));
  const bits = value.slice(slash + 1);
  if (version === 0 || value.includes('%') || !/^(0|[1-9][0-9]{0,2})$/.test(bits)) return false;
  return Number(bits) <= (version === 4 ? 32 : 128);
}

/** What is doubtful about a valid CIDR range: bits behind its length, which nobody looks at. Undefined where there are none. */
export function findHostBits(value: string): string | undefined {
  const slash = value.indexOf('/');
  if (slash === -1 || !isIpBlock(value)) return undefined;
  const address = value.slice(0, slash);
  const length = Number(value.slice(slash + 1));
  const bits = bitsOf(address);
  if (!bits.slice(length).includes('1')) return undefined;
  return `only the first ${length} bits of ${address} count: this is a whole range, not one address`;
}

function bitsOf(address: string): string {
  if (isIP(address) === 4)
    return address
      .split('.')
      .map((part) => Number(part).toString(2).padStart(8, '0'))
      .join('');
  // The parser of URLs writes an address in one way: groups of hexadecimals, the longest run of zeros left out.
  const [head = '', tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::');
  const groups = (text: string): string[] => (text === '' ? [] : text.split(':'));
  const before = groups(head);
  const after = groups(tail ?? '');
  const all = [...before, ...Array<string>(8 - before.length - after.length).fill('0'), ...after];
  return all.map((group) => Number.parseInt(group, 16).toString(2).padStart(16, '0')).join('');
}

/** Whether `value` is a port as policies write it, a string of digits from 0 to 65535; leading zeros do not count, as in Go. */
export function isPortText(value: string): boolean {
  return value.length <= 64 && /^[0-9]+$/.test(value) && Number(value) <= 65535;
}

/** A label of DNS as Kubernetes names namespaces: RFC 1123, at most 63 characters. */
export function isDnsLabel(value: string): boolean {
  return value.length <= 63 && /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/.test(value);
}

/** A name as Kubernetes allows for objects: RFC 1123 labels joined by dots, at most 253 characters. */
export function isObjectName(value: string): boolean {
  return value.length <= 253 && /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/.test(value);
}

/** A name of an HTTP header (RFC 9110 section 5.1). */
export function isHeaderName(value: string): boolean {
  return /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(value);
}

const durationUnits: Readonly<Record<string, number>> = {
  ...{ ns: 1e-6, us: 1e-3, '\u00b5s': 1e-3, '\u03bcs': 1e-3 },
  ...{ ms: 1, s: 1000, m: 60_000, h: 3_600_000 },
};
const durationPart = /([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|\u00b5s|\u03bcs|ms|s|m|h)/g;

/** Milliseconds of a Go duration such as `5s`, `.5s` or `1m30s`; undefined when it is none, or negative. */
export function parseDuration(value: string): number | undefined {
  const text = value.replace(/^\+/, '');
  if (text === '' || text.length > 40 || text.replace(durationPart, '') !== '') return undefined;
  let total = 0;
  for (const [, amount, unit] of text.matchAll(durationPart)) total += Number(amount) * durationUnits[unit!]!;
  return total;
}

/** A duration of at least one millisecond, such as `5s`. */
export const duration: Shape<string> = refined(text({ min: 1 }), (value, place) => {
  const milliseconds = parseDuration(value);
  if (milliseconds === undefined) invalidAt(place, `${quote(value)} is no duration`, 'write a number and a unit, such as 5s');
  else if (milliseconds < 1) invalidAt(place, 'must be at least 1ms');
});

const hostLabel = '[A-Za-z0-9](?:[-A-Za-z0-9]*[A-Za-z0-9])?';
const plainLabel = new RegExp(`^${hostLabel}$`);
const firstLabel = new RegExp(`^(?:\\*|(?:\\*-?)?${hostLabel})$`);

/** Whether labels make the end of a name as Istio checks it: DNS labels, the last not of digits alone; it may be empty for a trailing dot. */
function areLabels(labels: readonly string[]): boolean {
  const last = labels.at(-1) ?? '';
  if (/^[0-9]+$/.test(last)) return false;
  const named = last === '' ? labels.slice(0, -1) : labels;
  return named.every((label) => label.length <= 63 && plainLabel.test(label));
}

/** A name of DNS without a wildcard, at most 255 characters. */
export function isDnsName(value: string): boolean {
  return value !== '' && value.length <= 255 && areLabels(value.split('.'));
}

/** A host as ServiceEntry and DestinationRule write it: a name of DNS whose first label may be or begin with `*`. */
export function isHostPattern(value: string): boolean {
  const [first = '', ...others] = value.split('.');
  if (value.length > 255 || first.length > 63 || !firstLabel.test(first)) return false;
  return others.length === 0 || areLabels(others);
}
