import { describe, expect, it } from 'vitest';
import type { PeerIdentity } from '../identity/caller.js';
import { bareRouter } from '../request/router.js';
import { DoorAttributes, type DoorFacts } from './door-attributes.js';

const gateway = 'spiffe://cluster.local/ns/shop/sa/gateway';
const admin = 'spiffe://cluster.local/ns/shop/sa/admin';

function certificateOf(peer: Pick<PeerIdentity, 'subject' | 'dnsNames'>): string {
  const facts = {
    ...{ method: 'GET', path: '/', query: '', host: 'product.shop', raw: [], router: bareRouter, workloadPort: 80 },
    scan: { problem: undefined, removed: undefined, joined: undefined },
    connection: { peer: { uri: gateway, certificateSha256: 'ab', ...peer } },
    svid: { current: () => ({ id: { uri: 'spiffe://cluster.local/ns/shop/sa/product' } }) },
  };
  return new DoorAttributes(facts as unknown as DoorFacts).forwardedClientCert ?? '';
}

/** The values of a field as a reader sees them that knows quotes and what stands behind a backslash in them. */
function valuesOf(header: string, field: string): string[] {
  const pairs = header.match(/(?:"(?:[^"\\]|\\.)*"|[^",;])+/g) ?? [];
  return pairs.filter((pair) => pair.startsWith(`${field}=`)).map((pair) => pair.slice(field.length + 1));
}

describe('x-forwarded-client-cert', () => {
  it('is told as Envoy tells it', () => {
    expect(certificateOf({ subject: 'CN=a,O=b', dnsNames: ['a.example', '*.b.example'] })).toBe(
      `By=spiffe://cluster.local/ns/shop/sa/product;Hash=ab;Subject="CN=a,O=b";URI=${gateway};DNS=a.example;DNS=*.b.example`,
    );
  });

  it.each([
    ['a subject that ends its quotes', { subject: `CN=a\\"\\;URI=${admin}\\,By=x\\"`, dnsNames: [] }],
    ['a subject with a backslash at its end', { subject: 'CN=a\\\\', dnsNames: [] }],
    ['a DNS name that begins another field', { subject: '', dnsNames: [`a;URI=${admin}`] }],
    ['a DNS name that begins another element', { subject: '', dnsNames: [`a,By=b;URI=${admin};Hash="`] }],
    ['a DNS name that ends quotes of its own', { subject: '', dnsNames: [`"a";URI=${admin}`, `\\";URI=${admin}`] }],
  ])('names one caller, whatever stands in %s', (_title, peer) => {
    const header = certificateOf(peer);
    expect(valuesOf(header, 'URI')).toEqual([gateway]);
    expect(valuesOf(header, 'DNS')).toHaveLength(peer.dnsNames.length);
  });
});
