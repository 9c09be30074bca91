import { isIP } from 'node:net';
import type { WorkloadEntrySpec } from '../registry.js';
import { placeAt, type Place } from '../place.js';
import { quote } from '../problem.js';
import { invalidAt } from '../shape.js';
import { isDnsName } from './values.js';

/** Istio's validation of an endpoint inside a ServiceEntry: its address fits the resolution, its ports are ports of the entry. */
export function checkEndpoint(
  { address = '', network, ports = {} }: WorkloadEntrySpec,
  resolution: string,
  portNames: ReadonlySet<string | undefined>,
  place: Place,
): void {
  const isUnix = address.startsWith('unix://');
  const at = placeAt(place, 'address');
  if (address === '' && (network === undefined || resolution !== 'STATIC')) invalidAt(place, 'needs an `address`');
  else if (resolution === 'STATIC' && !isUnix && address !== '' && isIP(address) === 0)
    invalidAt(at, `${quote(address)} is no IP address, as resolution STATIC needs`, 'names of hosts are for resolution DNS');
  else if (resolution.startsWith('DNS') && isIP(address) === 0 && !isDnsName(address))
    invalidAt(at, `${quote(address)} is neither an IP address nor a DNS name`);
  if (isUnix && portNames.size !== 1) invalidAt(at, 'a unix address needs exactly one port of the ServiceEntry');
  for (const name of Object.keys(ports)) {
    if (!portNames.has(name)) invalidAt(placeAt(place, 'ports', name), `the ServiceEntry has no port ${quote(name)}`);
  }
}
