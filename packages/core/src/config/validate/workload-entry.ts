import { isIP } from 'node:net';
import type { WorkloadEntrySpec } from '../registry.js';
import { placeAt } from '../place.js';
import { quote } from '../problem.js';
import { integer, invalidAt, mapOf, record, refined, text, type Shape } from '../shape.js';
import { isIstioLabel, workloadLabels } from './labels.js';
import { isDnsName } from './values.js';

const fields = record<WorkloadEntrySpec>({
  address: text({ min: 1, max: 256 }),
  ports: mapOf(integer(1, 65535), { max: 128 }, (name, place) => {
    if (!isIstioLabel(name)) invalidAt(place, `${quote(name)} is no name of a port`);
  }),
  labels: workloadLabels,
  network: text({ max: 2048 }),
  locality: text({ max: 2048 }),
  weight: integer(0, 4294967295),
  serviceAccount: text({ max: 253 }),
});

/** An endpoint: inline in a ServiceEntry or the `spec` of a WorkloadEntry. Its address is an IP address, a DNS name or `unix://` with an absolute path. */
export const workloadEntrySpec: Shape<WorkloadEntrySpec> = refined(fields, (spec, place) => {
  const { address } = spec;
  if (address === undefined) {
    if (spec.network === undefined && placeAt(place, 'address') === place) invalidAt(place, 'needs an `address`');
    return;
  }
  const at = placeAt(place, 'address');
  if (address.startsWith('unix://')) {
    if (!/^unix:\/\/(@|\/.*[^/]$)/.test(address)) invalidAt(at, 'a unix address needs an absolute path');
    if (spec.ports !== undefined) invalidAt(placeAt(place, 'ports'), 'a unix address has no ports');
  } else if (isIP(address) === 0 && !isDnsName(address)) {
    invalidAt(at, `${quote(address)} is neither an IP address nor a DNS name`);
  }
});
