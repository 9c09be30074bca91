import type { TLSSocket } from 'node:tls';
import { isEnmeshError, type ErrorCode } from '../errors.js';
import type { PeerIdentity } from '../identity/caller.js';
import type { AcceptSettings } from './accept-settings.js';
import { isIstioAlpn } from './alpn.js';
import { verifyClient, type VerifiedPeer } from './peer-certificate.js';
import type { ConnectionRefusal } from './refusal.js';
import { codeOf, type IdentityEpoch } from './secure-context.js';

/** Why a connection is not taken: a {@link ConnectionRefusal} but for the address. */
export type Objection = Omit<ConnectionRefusal, 'remoteAddress'>;

/** Whether a finished handshake is taken: the peer it proved, or what speaks against it. */
export type Admission = { readonly verified: VerifiedPeer; readonly objection?: never } | { readonly objection: Objection };

/**
 * Decides over a handshake that OpenSSL has finished: not resumed, of the mesh by its ALPN where the mode asks that, an SVID that its own trust
 * domain's bundle signs, and a trust domain this mesh admits. `alpn` is the client's list. Never throws; what is unsure is an objection.
 */
export function admitHandshake(
  socket: TLSSocket,
  o: {
    readonly settings: AcceptSettings;
    readonly alpn: readonly string[] | undefined;
    /** The SVID and bundles whose context the handshake used. */
    readonly epoch: IdentityEpoch;
    readonly now: number;
  },
): Admission {
  const { settings } = o;
  if (socket.isSessionReused()) return object('accept', 'ENMESH_TLS_SESSION_RESUMED', 'the handshake resumed an earlier session');
  if (!mayUseTls(settings, o.alpn ?? [])) {
    return object('accept', 'ENMESH_TLS_ALPN_REFUSED', "the port is PERMISSIVE and the client offers none of Istio's ALPN names");
  }
  try {
    const verified = verifyClient(socket, o.epoch, o.now);
    if (verified === undefined) {
      return object('accept', 'ENMESH_TLS_CLIENT_UNVERIFIED', 'there is no verified client certificate');
    }
    const objection = objectToPeer(settings, verified.peer);
    return objection === undefined ? { verified } : { objection };
  } catch (error) {
    if (isEnmeshError(error)) return object('peer-identity', error.code, error.message);
    return object('peer-identity', 'ENMESH_TLS_ACCEPT_FAULT', `reading the peer's certificate failed: ${codeOf(error)}`);
  }
}

/** What speaks against a verified peer: that its trust domain is not one the mesh admits (istio-semantics 1.6). */
export function objectToPeer(settings: AcceptSettings, peer: PeerIdentity): Objection | undefined {
  if (settings.trustDomains.includes(peer.trustDomain)) return undefined;
  const reason = `trust domain ${peer.trustDomain} is not admitted (${settings.trustDomains.join(', ')} are)`;
  return { step: 'peer-identity', code: 'ENMESH_TLS_TRUST_DOMAIN_REFUSED', reason, peer: peer.uri };
}

/** Whether the mode lets a client with this ALPN list use TLS at all (istio-semantics 1.5). */
export function mayUseTls(settings: AcceptSettings, alpn: readonly string[]): boolean {
  return !needsAlpnList(settings) || isIstioAlpn(alpn);
}

/** Whether the mode tells clients apart by their ALPN list, not only by their certificate. */
export function needsAlpnList({ mode, permissiveAnyAlpn }: AcceptSettings): boolean {
  return mode !== 'STRICT' && !permissiveAnyAlpn;
}

/** What speaks against a client whose handshake OpenSSL, the ALPN answer or a deadline ended. */
export function objectToFailedHandshake(error: unknown, socket: TLSSocket, isAlpnRefused: boolean): Objection {
  const code = codeOf(error);
  // The first where the client's list came to us, the second where OpenSSL was given ours.
  if (isAlpnRefused || code === 'ERR_SSL_NO_APPLICATION_PROTOCOL') return alpnObjection;
  // Node's own deadline, as long as ours but begun later, may be looked at first.
  if (code === 'ERR_TLS_HANDSHAKE_TIMEOUT') return handshakeTimeout;
  // Set by Node when the chain did not verify; `error` is then a mere hang-up.
  const verification = socket.authorizationError as unknown;
  if (verification) {
    return {
      step: 'accept',
      code: 'ENMESH_TLS_CLIENT_UNVERIFIED',
      reason: `the client certificate was refused: ${reasonText(verification)}`,
    };
  }
  if (code === 'ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE') {
    return { step: 'accept', code: 'ENMESH_TLS_CLIENT_UNVERIFIED', reason: 'the client sent no certificate' };
  }
  return { step: 'accept', code: 'ENMESH_TLS_HANDSHAKE_FAILED', reason: `the handshake failed: ${code}` };
}

/** What speaks against a client whose handshake does not end. */
export const handshakeTimeout: Objection = {
  step: 'accept',
  code: 'ENMESH_TLS_ACCEPT_TIMEOUT',
  reason: 'the handshake took too long',
};

const alpnObjection: Objection = {
  step: 'accept',
  code: 'ENMESH_TLS_ALPN_REFUSED',
  reason: 'the client offers no ALPN name that this port takes',
};

function reasonText(verification: unknown): string {
  return typeof verification === 'string' ? verification : codeOf(verification);
}

function object(step: Objection['step'], code: ErrorCode, reason: string): { objection: Objection } {
  return { objection: { step, code, reason } };
}
