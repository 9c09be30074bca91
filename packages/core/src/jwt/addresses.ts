import { lookup, type LookupAddress, type LookupOptions } from 'node:dns';
import { BlockList, isIP, type LookupFunction } from 'node:net';
import { EnmeshError } from '../errors.js';

/** IPv4, with the length of the prefix: link-local, and the metadata services that are elsewhere, of Alibaba Cloud, Oracle Cloud and Azure (its wire server). */
const forbiddenIpv4 = [
  ['169.254.0.0', 16],
  ['100.100.100.200', 32],
  ['192.0.0.192', 32],
  ['168.63.129.16', 32],
] as const;

/** Of AWS (instances, pods) and Google Cloud. */
const metadataIpv6 = ['fd00:ec2::254', 'fd00:ec2::23', 'fd20:ce::254'];

/** Behind these 96 bits IPv6 has all of IPv4: NAT64 (RFC 6052, RFC 8215), translated (RFC 2765) and compatible addresses. Mapped ones BlockList knows. */
const ipv4Prefixes = ['64:ff9b::', '64:ff9b:1::', '::ffff:0:', '::'];

const forbidden = new BlockList();
forbidden.addSubnet('fe80::', 10, 'ipv6');
for (const address of metadataIpv6) forbidden.addAddress(address, 'ipv6');
for (const [net, length] of forbiddenIpv4) {
  forbidden.addSubnet(net, length, 'ipv4');
  for (const prefix of ipv4Prefixes) forbidden.addSubnet(`${prefix}${net}`, 96 + length, 'ipv6');
  forbidden.addSubnet(
    `2002:${Buffer.from(net.split('.').map(Number)).toString('hex').replace(/.{4}/g, '$&:')}:`,
    16 + length,
    'ipv6',
  );
}

/**
 * Whether keys are never fetched from this IP address: link-local and cloud metadata addresses, also as IPv6 writes and carries those of IPv4. `address` may stand
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
