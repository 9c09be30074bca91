import { EnmeshError } from '../errors.js';
import type { PeerIdentity } from '../identity/caller.js';
import { readPeerIdentity } from './peer.js';

const named = 3;

/**
 * Secure naming (istio-semantics 5.3): the server's leaf certificate must carry one of the identities that the service asked for may have, as its
 * SPIFFE ID or a DNS name, exactly. Address, DNS and SNI play no part. An empty list refuses: it would admit anyone in the mesh.
 * Says nothing about the chain. Throws `ENMESH_TLS_SECURE_NAMING`, which names both identities, or an `ENMESH_X509_` code.
 */
export function verifyServerIdentity(o: {
  readonly service: string;
  readonly expected: readonly string[];
  readonly leaf: Uint8Array;
}): PeerIdentity {
  const { service, expected } = o;
  const peer = readPeerIdentity(o.leaf);
  if (expected.includes(peer.uri) || peer.dnsNames.some((name) => expected.includes(name))) return peer;
  const shown = expected.slice(0, named).join(', ') + (expected.length > named ? ` and ${expected.length - named} more` : '');
  const wanted = expected.length === 0 ? 'no identity is known for it' : `it may be ${shown}`;
  throw new EnmeshError('ENMESH_TLS_SECURE_NAMING', `${service} is not who answers: ${wanted}, and the server is ${peer.uri}`, {
    details: { service, expected: expected.slice(0, 10), presented: peer.uri },
  });
}
