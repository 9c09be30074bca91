import type { TLSSocket } from 'node:tls';
import { isEnmeshError } from '../errors.js';
import type { MeshIdentity } from '../identity/source.js';
import type { AcceptSettings } from './accept-settings.js';
import { objectToPeer, type Objection } from './admit.js';
import { verifyPeerAgain } from './peer-certificate.js';
import type { PeerRecord } from './peer-records.js';
import { codeOf } from './secure-context.js';

/** Whether an accepted connection is one that its server would still take. */
export interface Standing {
  /**
   * What speaks against a request that begins on the connection now: the mode of the port, the peer's trust domain, or a bundle that no longer signs
   * the peer. One comparison of integers unless something has changed since it was last asked. What ends with time is `objectionAt`'s.
   */
  objection(): Objection | undefined;
  /** What speaks against the peer at this time: its certificate has ended, or one that signed it has and no other chain leads to a root. */
  objectionAt(now: number): Objection | undefined;
}

/** What the connections of one server are judged by. `generation` counts the changes of it. */
export interface Era {
  generation: number;
  readonly accept: () => AcceptSettings;
  readonly identity: MeshIdentity;
  readonly clock: () => number;
}

/** Creates the standing of a connection that was admitted in `generation`; without a record it is plaintext. */
export function createStanding(era: Era, generation: number, socket?: TLSSocket, record?: PeerRecord): Standing {
  const parameters = socket === undefined ? undefined : parametersOf(socket);
  return new ConnectionStanding(era, generation, parameters, record);
}

/** The parameters of a handshake that MeshConfig can come to forbid. */
interface Parameters {
  readonly version: string | null;
  readonly cipher: string;
}

class ConnectionStanding implements Standing {
  readonly #era: Era;
  readonly #parameters: Parameters | undefined;
  readonly #record: PeerRecord | undefined;
  #judgedIn: number;
  #found: Objection | undefined = undefined;

  constructor(era: Era, generation: number, parameters: Parameters | undefined, record: PeerRecord | undefined) {
    this.#era = era;
    this.#judgedIn = generation;
    this.#parameters = parameters;
    this.#record = record;
  }

  objection(): Objection | undefined {
    if (this.#judgedIn === this.#era.generation) return this.#found;
    return this.#judge();
  }

  objectionAt(now: number): Objection | undefined {
    // Written so that a clock that is no number refuses.
    if (this.#record === undefined || now < this.#record.proof.until) return undefined;
    return objectToTime(this.#era, this.#record, now);
  }

  #judge(): Objection | undefined {
    const { generation } = this.#era;
    try {
      this.#found = judge(this.#era, this.#parameters, this.#record);
      this.#judgedIn = generation;
      return this.#found;
    } catch (error) {
      // Not kept: asked again at the next request.
      if (isEnmeshError(error)) return { step: 'peer-identity', code: error.code, reason: error.message };
      const reason = `looking at an open connection again failed: ${codeOf(error)}`;
      return { step: 'accept', code: 'ENMESH_TLS_ACCEPT_FAULT', reason };
    }
  }
}

function judge(era: Era, parameters: Parameters | undefined, record: PeerRecord | undefined): Objection | undefined {
  const settings = era.accept();
  if (record === undefined || parameters === undefined) {
    if (settings.mode !== 'STRICT') return undefined;
    return {
      step: 'accept',
      code: 'ENMESH_TLS_PLAINTEXT_REFUSED',
      reason: 'the port became STRICT and the connection is plaintext',
    };
  }
  // A verified peer is not cut off because PERMISSIVE would now ask for another ALPN list: that tells clients apart, it proves nothing.
  const outdated = outdatedBy(settings, parameters);
  if (outdated !== undefined)
    return { step: 'accept', code: 'ENMESH_TLS_CONNECTION_OUTDATED', reason: outdated, peer: record.peer.uri };
  return objectToPeer(settings, record.peer) ?? objectToTrust(era, record);
}

function outdatedBy(settings: AcceptSettings, { version, cipher }: Parameters): string | undefined {
  if (settings.mode === 'DISABLE') return 'the mode of the port became DISABLE and the connection is TLS';
  if (version === 'TLSv1.3') return undefined;
  if (settings.minVersion === 'TLSv1.3') return 'the mesh came to ask for TLS 1.3 and the connection speaks an older version';
  return settings.ciphers.includes(cipher) ? undefined : `the mesh no longer takes the cipher suite of the connection, ${cipher}`;
}

/** Looked at anew each time, for it is the last of a connection: unless another chain is found, which is then remembered. */
function objectToTime({ identity }: Era, record: PeerRecord, now: number): Objection | undefined {
  const { peer } = record;
  const step = 'peer-identity';
  if (!(now < peer.notAfter)) {
    const reason = `the certificate of ${peer.uri} expired while its connection was open`;
    return { step, code: 'ENMESH_X509_OUT_OF_VALIDITY', reason, peer: peer.uri };
  }
  try {
    const bundles = identity.bundles.current();
    record.proof = verifyPeerAgain(record, { bundles, ownChain: () => identity.svid.current().chain, now });
    return undefined;
  } catch (error) {
    const code = isEnmeshError(error) ? error.code : 'ENMESH_TLS_ACCEPT_FAULT';
    return {
      step,
      code,
      reason: `a certificate that signs that of ${peer.uri} expired while its connection was open`,
      peer: peer.uri,
    };
  }
}

/** Looked at once for each certificate and set of bundles, however many connections and other changes there are. */
function objectToTrust(era: Era, record: PeerRecord): Objection | undefined {
  const bundles = era.identity.bundles.current();
  if (record.judgedWith === bundles) return record.objection;
  const { peer } = record;
  try {
    record.proof = verifyPeerAgain(record, { bundles, ownChain: () => era.identity.svid.current().chain, now: era.clock() });
    record.vouchedBy = bundles.get(peer.trustDomain);
    record.objection = undefined;
  } catch (error) {
    // Anything else may be of this moment only, such as a clock that stands wrong.
    if (!isEnmeshError(error, 'ENMESH_X509_UNTRUSTED')) throw error;
    const reason = `the trust bundles changed: ${error.message}`;
    record.objection = { step: 'peer-identity', code: error.code, reason, peer: peer.uri };
  }
  record.judgedWith = bundles;
  return record.objection;
}

const cipherNames = new Map<string, string>();

function parametersOf(socket: TLSSocket): Parameters {
  const version = socket.getProtocol();
  // Its cipher is not asked for either, which costs more than all else here.
  if (version === 'TLSv1.3') return parameters13;
  const { name } = socket.getCipher();
  // Native strings of their own otherwise, one for each connection.
  const cipher = cipherNames.get(name) ?? (cipherNames.set(name, name), name);
  return { version, cipher };
}

const parameters13: Parameters = { version: 'TLSv1.3', cipher: '' };
