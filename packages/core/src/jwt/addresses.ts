import { lookup, type LookupAddress, type LookupOptions } from 'node:dns';
import { BlockList, isIP, type LookupFunction } from 'node:net';
import { EnmeshError } from '../errors.js';

const forbidden = new BlockList();
forbidden.addSubnet('169.254.0.0', 16, 'ipv4');
forbidden.addSubnet('fe80::', 10, 'ipv6');
forbidden.addAddress('fd00:ec2::254', 'ipv6');
// The same addresses behind NAT64 (RFC 6052).
forbidden.addSubnet('64:ff9b::169.254.0.0', 112, 'ipv6');
// Metadata services off the link-local range: Alibaba Cloud, Oracle Cloud.
forbidden.addAddress('100.100.100.200', 'ipv4');
forbidden.addAddress('192.0.0.192', 'ipv4');

/**
 * Whether keys are never fetched from this IP address: link-local and cloud metadata addresses, also as IPv4-mapped IPv6. `address` may stand
 * in brackets and have a zone. What is no IP address is not forbidden by itself; its addresses are looked at when it is resolved.
 */
export function isForbiddenAddress(address: string): boolean {
  const bare = address.replace(/^\[|\]$/g, '').replace(/%.*$/, '');
  const family = isIP(bare);
  return family !== 0 && forbidden.check(bare, family === 6 ? 'ipv6' : 'ipv4');
}

/**
 * `dns.lookup` for `http.request` and `tls.connect` that fails with `ENMESH_JWT_FETCH_REFUSED` when a name leads to a forbidden address,
 * at the moment of connecting: a check before it could be told another answer. Node never calls it for literal addresses.
 */
export const guardedLookup: LookupFunction = (hostname, options, callback) => {
  lookup(hostname, { ...(options as LookupOptions), all: true }, (error, found) => {
    const addresses: LookupAddress[] = error ? [] : found;
    const problem = error ?? refusalOf(hostname, addresses);
    const first = addresses[0];
    if (problem !== null || first === undefined) callback(problem ?? new Error('no address'), []);
    else if (options.all === true) callback(null, addresses);
    else callback(null, first.address, first.family);
  });
};

function refusalOf(hostname: string, addresses: readonly LookupAddress[]): EnmeshError | null {
  if (!addresses.some(({ address }) => isForbiddenAddress(address))) return null;
  return new EnmeshError('ENMESH_JWT_FETCH_REFUSED', `${hostname} leads to a link-local or metadata address`);
}
