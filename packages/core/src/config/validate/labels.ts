import { warnAt, type Place } from '../place.js';
import { quote } from '../problem.js';
import { invalidAt, mapOf, refined, text } from '../shape.js';

const dnsLabel = '[A-Za-z0-9](?:[-A-Za-z0-9]*[A-Za-z0-9])?';
const qualifiedName = '(?:[A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]';
const label = new RegExp(`^${dnsLabel}$`);
const labelKey = new RegExp(`^(?:(${dnsLabel}(?:\\.${dnsLabel})*)/)?(${qualifiedName})$`);
const labelValue = new RegExp(`^(?:${qualifiedName})?$`);

/** A name as Istio wants it for ports and subsets: a DNS label in either case, at most 63 characters. */
export function isIstioLabel(value: string): boolean {
  return value.length <= 63 && label.test(value);
}

function checkKey(key: string, place: Place): void {
  const match = labelKey.exec(key);
  if (match === null || (match[1] ?? '').length > 253 || (match[2] ?? '').length > 63)
    invalidAt(place, `${quote(key)} is no key of a label`);
}

const value = refined(text(), (given, place) => {
  if (!labelValue.test(given)) invalidAt(place, `${quote(given)} is no value of a label`, 'letters, digits, "-", "_" and "."');
  else if (given.length > 63)
    warnAt(place, 'ENMESH_CONFIG_DOUBTFUL', 'has more than 63 characters, so no selector can ask for it and no pod can have it');
});

/** Labels that an endpoint has or a subset asks for, as Kubernetes writes them. */
export const workloadLabels = mapOf(value, { max: 4096 }, checkKey);
