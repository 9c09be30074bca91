import { placeAt, type Place } from '../place.js';
import { quote } from '../problem.js';
import { invalidAt, listOf, refined, text } from '../shape.js';
import { isDnsLabel } from './values.js';

/** `exportTo[]`: a namespace, `.` for the own one, `*` for all, `~` (a ServiceEntry's only) for none. */
export const exportTo = listOf(
  refined(text({ min: 1 }), (value, place) => {
    if (!['.', '*', '~'].includes(value) && !isDnsLabel(value))
      invalidAt(place, `${quote(value)} is neither a namespace nor one of "." "*" "~"`);
  }),
);

/** What Istio asks of the whole list: no namespace twice, `*` and `~` by themselves, and the own namespace alone for a rule with a workloadSelector. */
export function checkExportTo(
  spec: { readonly exportTo?: readonly string[]; readonly workloadSelector?: unknown },
  namespace: string,
  place: Place,
  kind: 'ServiceEntry' | 'DestinationRule',
): void {
  const list = spec.exportTo ?? [];
  const seen = new Set<string>();
  list.forEach((given, index) => {
    const at = placeAt(place, 'spec', 'exportTo', index);
    const meant = given === '.' ? namespace : given;
    if (seen.has(meant)) invalidAt(at, `${quote(given)} stands here twice, or beside "." which means it`);
    if (given === '~' && kind === 'DestinationRule') invalidAt(at, '"~" is for ServiceEntries only', 'remove the rule');
    else if ((given === '*' || given === '~') && list.length > 1) invalidAt(at, `${quote(given)} must stand alone`);
    seen.add(meant);
  });
  if (kind === 'DestinationRule' && spec.workloadSelector !== undefined && [...seen].some((one) => one !== namespace))
    invalidAt(placeAt(place, 'spec', 'exportTo'), 'a rule with a workloadSelector can only be exported to its own namespace');
}
