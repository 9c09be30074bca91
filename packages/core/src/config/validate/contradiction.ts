import { BlockList, isIP } from 'node:net';
import { placeAt, warnAt, type Place } from '../place.js';

/** Whether everything that the value `inner` matches is matched by `outer` too; false where that is not certain. */
type Covers = (outer: string, inner: string) => boolean;

const sameOrAny: Covers = (outer, inner) => outer === inner || outer === '*';

/** Istio's string syntax (istio-semantics 3.5). */
const coversText: Covers = (outer, inner) => {
  if (sameOrAny(outer, inner)) return true;
  if (inner === '*') return false;
  const isSuffix = inner.startsWith('*');
  const isPrefix = !isSuffix && inner.endsWith('*');
  if (outer.startsWith('*')) return !isPrefix && inner.slice(isSuffix ? 1 : 0).endsWith(outer.slice(1));
  if (outer.endsWith('*')) return !isSuffix && inner.slice(0, isPrefix ? -1 : undefined).startsWith(outer.slice(0, -1));
  return false;
};

const operator = /\{\*{1,2}\}/;

const coversPath: Covers = (outer, inner) => {
  if (sameOrAny(outer, inner)) return true;
  if (operator.test(outer)) return false;
  if (!operator.test(inner)) return coversText(outer, inner);
  if (outer.startsWith('*')) return inner.slice(inner.lastIndexOf('}') + 1).endsWith(outer.slice(1)) && outer !== '*';
  return outer.endsWith('*') && inner.slice(0, inner.indexOf('{')).startsWith(outer.slice(0, -1));
};

const coversHost: Covers = (outer, inner) => coversText(outer.toLowerCase(), inner.toLowerCase());

const coversPort: Covers = (outer, inner) => Number(outer) === Number(inner);

const coversBlock: Covers = (outer, inner) => {
  const [outerBase = '', outerBits] = outer.split('/');
  const [innerBase = '', innerBits] = inner.split('/');
  const version = isIP(outerBase);
  if (version === 0 || isIP(innerBase) !== version || `${outer}${inner}`.includes('%')) return false;
  const all = version === 4 ? 32 : 128;
  const bits = Number(outerBits ?? all);
  if (bits > Number(innerBits ?? all)) return false;
  const type = version === 4 ? 'ipv4' : 'ipv6';
  const list = new BlockList();
  list.addSubnet(outerBase, bits, type);
  return list.check(innerBase, type);
};

/** How values of a field or of an attribute cover each other. Identities are rewritten by trust domain aliases, so only the same value counts. */
const coverers: readonly (readonly [RegExp, Covers])[] = [
  [/^(ipBlocks|remoteIpBlocks|source\.ip|remote\.ip|destination\.ip)$/, coversBlock],
  [/^(ports|destination\.port)$/, coversPort],
  [/^paths$/, coversPath],
  [/^hosts$/, coversHost],
  [/^(methods|connection\.sni|request\.auth\.(audiences|presenter|claims\[.*)|request\.headers\[.*)$/, coversText],
  [/^/, sameOrAny],
];

/** Whether every value is excluded by one of `excluded`, so that both together can never hold. `name` is a field or the key of a condition. */
export function isContradiction(name: string, values: readonly string[], excluded: readonly string[]): boolean {
  if (values.length === 0 || excluded.length === 0 || values.length * excluded.length > 10_000) return false;
  const covers = coverers.find(([pattern]) => pattern.test(name))![1];
  return values.every((inner) => excluded.some((outer) => covers(outer, inner)));
}

/** Warns where a field of a source or an operation is taken back by its `notX`. */
export function warnContradictions(fields: object, place: Place): void {
  const lists = fields as Readonly<Record<string, readonly string[] | undefined>>;
  for (const [name, values] of Object.entries(lists)) {
    const negative = `not${name[0]!.toUpperCase()}${name.slice(1)}`;
    if (!isContradiction(name, values ?? [], lists[negative] ?? [])) continue;
    warnAt(
      placeAt(place, name),
      'ENMESH_CONFIG_DOUBTFUL',
      `never matches: every value is excluded by ${negative}`,
      `take the values out of ${negative}, or leave ${name} out`,
    );
  }
}
