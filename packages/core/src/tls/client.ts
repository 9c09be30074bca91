import type { Socket } from 'node:net';
import {
  createSecureContext,
  type DetailedPeerCertificate,
  type PeerCertificate,
  type SecureContext,
  type TLSSocket,
} from 'node:tls';
import { EnmeshError } from '../errors.js';
import type { MeshIdentity } from '../identity/source.js';
import type { X509Svid } from '../identity/svid.js';
import type { TrustBundleSet } from '../identity/trust-bundle.js';
import { clientAlpn } from './alpn.js';
import { attemptTls } from './connect.js';
import { recordConnection } from './peer.js';
import { serverCertificates, verifyPeer, verifyPeerAgain, type PeerCertificates, type VerifiedPeer } from './peer-certificate.js';
import { contextOptions, currentEpoch, withUsableIdentity, type IdentityEpoch } from './secure-context.js';
import { verifyServerIdentity } from './secure-naming.js';

export { connectTls, type TlsConnectOptions } from './origination.js';
export type { ConnectCallback } from './connect.js';

/** One mutual TLS connection into the mesh. */
export interface MeshConnectOptions {
  /** The endpoint's address. */
  readonly host: string;
  readonly port: number;
  /** SNI, as Istio forms it (istio-semantics 5.4); empty sends none. */
  readonly serverName: string;
  /** The service asked for, in the words of messages. */
  readonly service: string;
  /** The identities that service may have; an empty list refuses. */
  readonly expected: readonly string[];
  readonly identity: MeshIdentity;
  /** `istio-http/1.1, istio, http/1.1` by default. */
  readonly alpn?: readonly string[];
  /** A fresh TCP connection to the endpoint, for clients that dial themselves; without it one is opened. */
  readonly socket?: Socket;
  readonly minVersion?: 'TLSv1.2' | 'TLSv1.3';
  /** For the whole attempt; 10000 milliseconds by default. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  readonly clock?: () => number;
}

/** The server of a connection into the mesh, for whoever keeps the connection. */
export interface VerifiedServer {
  readonly certificateSha256: string;
  /** When the first certificate of its chain ends, in milliseconds since the epoch. From then on the connection may carry no new request. */
  readonly until: number;
  /** Whether it would be accepted again with these bundles. */
  isTrusted(bundles: TrustBundleSet, now: number): boolean;
}

/** As ConnectCallback; with the socket comes its server. */
export type MeshConnectCallback = (error: Error | null, socket: TLSSocket | null, server?: VerifiedServer) => void;

/**
 * Connects to an endpoint of a mesh service by mutual TLS: our SVID, a server whose SVID its own trust domain's bundle signs and whose identity the
 * service may have (secure naming). Nothing is sent before all of that holds; then `callback` gets the socket and its server, else an error with a code:
 * `ENMESH_TLS_SECURE_NAMING`, `ENMESH_TLS_SERVER_UNVERIFIED`, `ENMESH_TLS_CONNECT_FAILED`, `ENMESH_TLS_CONNECT_TIMEOUT`, `ENMESH_IDENTITY_NONE`,
 * `ENMESH_TLS_IDENTITY_UNUSABLE` or an `ENMESH_X509_` code; an aborted signal gives its reason. `connectionOf(socket)` then knows the server.
 */
export function connectMesh(o: MeshConnectOptions, callback: MeshConnectCallback): void {
  let secureContext: SecureContext;
  let epoch: IdentityEpoch;
  try {
    if (o.expected.length === 0) throw new EnmeshError('ENMESH_TLS_SECURE_NAMING', `no identity is known for ${o.service}`);
    epoch = currentEpoch(o.identity, (o.clock ?? Date.now)());
    secureContext = contextOf(epoch, o.minVersion ?? 'TLSv1.2');
  } catch (error) {
    return void process.nextTick(callback, error, null);
  }
  let certificates: PeerCertificates | undefined;
  let server: VerifiedServer | undefined;
  const tls = {
    secureContext,
    ...(o.serverName === '' ? {} : { servername: o.serverName }),
    ALPNProtocols: [...(o.alpn ?? clientAlpn)],
    ...(o.socket === undefined ? {} : { socket: o.socket }),
    rejectUnauthorized: true,
    // The host name is not what identifies a service; `verify` compares identities instead.
    checkServerIdentity(_host: string, certificate: PeerCertificate) {
      certificates = serverCertificates(certificate as DetailedPeerCertificate);
      return undefined;
    },
  };
  attemptTls(
    {
      ...{ service: o.service, host: o.host, port: o.port, signal: o.signal, tls },
      timeoutMs: o.timeoutMs ?? 10_000,
      verify(socket) {
        if (socket.authorized !== true || certificates === undefined)
          throw new EnmeshError('ENMESH_TLS_SERVER_UNVERIFIED', `${o.service} proved no identity`);
        const { leaf, intermediates } = certificates;
        const verified = verifyPeer(leaf, () => intermediates, epoch, (o.clock ?? Date.now)());
        const peer = verifyServerIdentity({ service: o.service, expected: o.expected, leaf: certificates.leaf });
        recordConnection(socket, { peer, mode: undefined });
        server = serverOf(verified, epoch);
      },
    },
    (error, socket) => (socket === null || server === undefined ? callback(error, null) : callback(null, socket, server)),
  );
}

/** Keeps the epoch's chain and one bundle, not its key. */
function serverOf(
  { peer, certificates, until, root }: VerifiedPeer,
  { bundles, svid: { chain } }: IdentityEpoch,
): VerifiedServer {
  const record = { peer, certificates, vouchedBy: bundles.get(peer.trustDomain), proof: { until, root } };
  return {
    certificateSha256: peer.certificateSha256,
    until,
    isTrusted(later, now) {
      try {
        verifyPeerAgain(record, { bundles: later, ownChain: () => chain, now });
        return true;
      } catch {
        return false;
      }
    },
  };
}

const contexts = new WeakMap<X509Svid, WeakMap<TrustBundleSet, Map<string, SecureContext>>>();

/** One context per SVID, bundles and version: making one costs more than the rest of a connection. */
function contextOf(epoch: IdentityEpoch, minVersion: 'TLSv1.2' | 'TLSv1.3'): SecureContext {
  let bySvid = contexts.get(epoch.svid);
  if (bySvid === undefined) contexts.set(epoch.svid, (bySvid = new WeakMap()));
  let byBundles = bySvid.get(epoch.bundles);
  if (byBundles === undefined) bySvid.set(epoch.bundles, (byBundles = new Map()));
  let context = byBundles.get(minVersion);
  if (context === undefined) {
    context = withUsableIdentity(() => createSecureContext(contextOptions(epoch, { minVersion })));
    byBundles.set(minVersion, context);
  }
  return context;
}
