import type { PolicyCondition } from '../../policy/resource.js';
import { errorAt, placeAt, warnAt, type Place } from '../place.js';
import { quote } from '../problem.js';
import { invalidAt, listOf, record, refined, text, type Shape } from '../shape.js';
import { spellingHint } from '../spelling.js';
import { isContradiction } from './contradiction.js';
import { findServerNameDoubt } from './doubtful-host.js';
import { findServiceAccountFault, findTrustDomainFault } from './source-values.js';
import { findHostBits, isIpBlock, isPortText } from './values.js';

type ValueFault = (value: string) => string | undefined;

const anyValue: ValueFault = () => undefined;
const ipFault: ValueFault = (value) => (isIpBlock(value) ? undefined : `${quote(value)} is no IP address or CIDR range`);
const portFault: ValueFault = (value) => (isPortText(value) ? undefined : `${quote(value)} is no port (0 to 65535)`);

/** Every attribute of `when[].key` without a bracket, and what is wrong with a value of it. */
const plainKeys: ReadonlyMap<string, ValueFault> = new Map([
  ['source.ip', ipFault],
  ['remote.ip', ipFault],
  ['source.namespace', anyValue],
  ['source.principal', anyValue],
  ['source.serviceAccount', findServiceAccountFault],
  // The attribute, unlike the field `trustDomains`, may hold a slash.
  ['source.trustDomain', (value) => findTrustDomainFault(value, true)],
  ['request.auth.principal', anyValue],
  ['request.auth.audiences', anyValue],
  ['request.auth.presenter', anyValue],
  ['destination.ip', ipFault],
  ['destination.port', portFault],
  ['connection.sni', anyValue],
]);

const mapKeys = ['request.headers', 'request.auth.claims'];
const retiredKey = /^(source\.user|destination\.(labels\[.*|name|namespace|user))$/;

const conditionFields = record<PolicyCondition>(
  { key: text({ min: 1 }), values: listOf(text({ min: 1 })), notValues: listOf(text({ min: 1 })) },
  { required: ['key'] },
);

/** `when[]`: a key that Istio knows (istio-semantics 3.9), at least one value, and values of the key's own form. */
export const condition: Shape<PolicyCondition> = refined(conditionFields, (value, place) => {
  if ((value.values?.length ?? 0) + (value.notValues?.length ?? 0) === 0 && !hasItems(place)) {
    invalidAt(place, 'needs `values` or `notValues`');
  }
  const fault = checkKey(value.key, placeAt(place, 'key'));
  if (fault === undefined) return;
  for (const field of ['values', 'notValues'] as const) {
    value[field]?.forEach((one, index) => {
      const message = fault(one);
      if (message !== undefined) invalidAt(placeAt(place, field, index), message);
      const doubt = doubtOf(value.key, one);
      if (doubt !== undefined) warnAt(placeAt(place, field, index), 'ENMESH_CONFIG_DOUBTFUL', doubt);
    });
  }
  if (isContradiction(value.key, value.values ?? [], value.notValues ?? []))
    warnAt(placeAt(place, 'values'), 'ENMESH_CONFIG_DOUBTFUL', 'never holds: every value is excluded by notValues');
});

function doubtOf(key: string, value: string): string | undefined {
  if (key === 'connection.sni') return findServerNameDoubt(value);
  return key.endsWith('.ip') ? findHostBits(value) : undefined;
}

/** Values that are invalid have been reported and left out; the list is not empty for that. */
function hasItems(place: Place): boolean {
  return ['values', 'notValues'].some((field) => {
    const { node } = placeAt(place, field);
    return node.kind !== 'map' && (node.kind !== 'list' || node.items.length > 0);
  });
}

function checkKey(key: string, place: Place): ValueFault | undefined {
  const plain = plainKeys.get(key);
  if (plain !== undefined) return plain;
  const open = key.indexOf('[');
  const name = open === -1 ? key : key.slice(0, open);
  if (name.startsWith('experimental.envoy.filters.')) {
    const hint = 'a condition on it would never match; use another attribute';
    return errorAt(place, 'ENMESH_CONFIG_UNSUPPORTED', 'there is no metadata of Envoy filters inside a process', hint);
  }
  if (mapKeys.includes(name)) return checkMapKey(key, open, place);
  const reason = retiredKey.test(key)
    ? 'was an attribute of v1alpha1 and is not one any more'
    : 'is no attribute that a condition can use';
  return invalidAt(
    place,
    `${quote(key)} ${reason}`,
    spellingHint(key, [...plainKeys.keys(), ...mapKeys.map((map) => `${map}[name]`)]),
  );
}

function checkMapKey(key: string, open: number, place: Place): ValueFault | undefined {
  // Istio admits an empty later bracket (`claims[a][]`), which Envoy then refuses.
  if (open === -1 || !key.endsWith(']') || key.includes('[]'))
    return invalidAt(place, `${quote(key)} must have the form name[x]`);
  return anyValue;
}
