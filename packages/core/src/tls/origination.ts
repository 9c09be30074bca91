import type { Socket } from 'node:net';
import { checkServerIdentity, type ConnectionOptions, type PeerCertificate, type TLSSocket } from 'node:tls';
import { EnmeshError } from '../errors.js';
import { readCertificateFacts } from '../x509/certificate-facts.js';
import { attemptTls, type ConnectCallback } from './connect.js';

/** What a mesh asks of TLS that it originates to servers outside it, in OpenSSL's names (MeshConfig `tlsDefaults`); empty lists are OpenSSL's own. */
export interface TlsDefaults {
  readonly cipherSuites: readonly string[];
  readonly ecdhCurves: readonly string[];
}

/** One TLS connection by a DestinationRule of mode SIMPLE or MUTUAL. Certificates and key are PEM. */
export interface TlsConnectOptions {
  readonly host: string;
  readonly port: number;
  /** SNI; absent or empty sends none. */
  readonly serverName?: string;
  /** The authorities to trust; absent means the public ones Node carries. */
  readonly ca?: string;
  /** The client's chain, leaf first, for MUTUAL; with `key`. */
  readonly cert?: string;
  readonly key?: string;
  /** The certificate must carry one of these as URI or DNS name, exactly; empty asks for none. */
  readonly subjectAltNames: readonly string[];
  /** The certificate must be for this host (RFC 9525: a DNS name or address of it, never its common name), besides `subjectAltNames`. */
  readonly verifyHost?: string;
  /** @deprecated Verifies nothing at all: anyone on the way can answer. */
  readonly insecureSkipVerify?: boolean;
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  /** None by default. */
  readonly alpn?: readonly string[];
  readonly defaults?: TlsDefaults;
  /** A fresh TCP connection to the endpoint, for clients that dial themselves; without it one is opened. */
  readonly socket?: Socket;
}

/**
 * Originates TLS to a server outside the mesh (istio-semantics 5.1, modes SIMPLE and MUTUAL): TLS 1.2 or better, no session kept, the chain verified
 * and at least one of `subjectAltNames` and `verifyHost` given and met. Errors: `ENMESH_TLS_SERVER_UNVERIFIED`, `ENMESH_TLS_SECURE_NAMING`,
 * `ENMESH_TLS_CONNECT_FAILED`, `ENMESH_TLS_CONNECT_TIMEOUT`, `ENMESH_TLS_IDENTITY_UNUSABLE` for certificates or keys that cannot be read.
 */
export function connectTls(o: TlsConnectOptions, callback: ConnectCallback): void {
  const problem = problemOf(o);
  if (problem !== undefined) return void process.nextTick(callback, problem, null);
  const attempt = {
    ...{
      service: o.verifyHost ?? o.serverName ?? o.host,
      host: o.host,
      port: o.port,
      signal: o.signal,
      tls: connectionOptions(o),
    },
    timeoutMs: o.timeoutMs ?? 10_000,
    verify: (socket: TLSSocket) => verifyNames(o, socket),
  };
  try {
    attemptTls(attempt, callback);
  } catch {
    // OpenSSL's message may quote what it could not read.
    const unreadable = new EnmeshError(
      'ENMESH_TLS_IDENTITY_UNUSABLE',
      `the certificates or key for ${attempt.service} cannot be read`,
    );
    process.nextTick(callback, unreadable, null);
  }
}

function problemOf(o: TlsConnectOptions): EnmeshError | undefined {
  // Node takes an empty `ca` for an absent one, which would trust the public authorities.
  if (o.ca !== undefined && !o.ca.includes('-----BEGIN CERTIFICATE-----')) {
    return new EnmeshError('ENMESH_TLS_IDENTITY_UNUSABLE', `the authorities given for ${o.host} hold no certificate`);
  }
  if (o.insecureSkipVerify !== true && o.subjectAltNames.length === 0 && o.verifyHost === undefined) {
    return new EnmeshError(
      'ENMESH_TLS_SECURE_NAMING',
      `nothing says whom to expect at ${o.host}: neither subjectAltNames nor a host`,
    );
  }
  return undefined;
}

function connectionOptions(o: TlsConnectOptions): ConnectionOptions {
  return {
    ...(o.serverName === undefined || o.serverName === '' ? {} : { servername: o.serverName }),
    ...(o.ca === undefined ? {} : { ca: o.ca }),
    ...(o.cert === undefined ? {} : { cert: o.cert }),
    ...(o.key === undefined ? {} : { key: o.key }),
    ...(o.alpn === undefined ? {} : { ALPNProtocols: [...o.alpn] }),
    ...(o.socket === undefined ? {} : { socket: o.socket }),
    ...(o.defaults !== undefined && o.defaults.cipherSuites.length > 0 && { ciphers: o.defaults.cipherSuites.join(':') }),
    ...(o.defaults !== undefined && o.defaults.ecdhCurves.length > 0 && { ecdhCurve: o.defaults.ecdhCurves.join(':') }),
    minVersion: 'TLSv1.2',
    rejectUnauthorized: o.insecureSkipVerify !== true,
    checkServerIdentity: (_host, certificate) => hostProblem(o, certificate),
  };
}

function hostProblem(o: TlsConnectOptions, certificate: PeerCertificate): Error | undefined {
  if (o.verifyHost === undefined) return undefined;
  try {
    // Node would take the common name where there is no DNS name; RFC 9525 section 4.1 and Envoy do not.
    return checkServerIdentity(o.verifyHost, { ...certificate, subject: {} as PeerCertificate['subject'] });
  } catch (error) {
    return error instanceof Error ? error : new Error('the host cannot be compared with the certificate');
  }
}

function verifyNames(o: TlsConnectOptions, socket: TLSSocket): void {
  if (o.insecureSkipVerify === true) return;
  const leaf = socket.authorized === true ? socket.getPeerX509Certificate()?.raw : undefined;
  if (leaf === undefined) throw new EnmeshError('ENMESH_TLS_SERVER_UNVERIFIED', `${o.host} showed no verified certificate`);
  if (o.subjectAltNames.length === 0) return;
  const { uriSans, dnsSans } = readCertificateFacts(leaf);
  const carried = [...uriSans, ...dnsSans];
  if (carried.some((name) => o.subjectAltNames.includes(name))) return;
  throw new EnmeshError(
    'ENMESH_TLS_SECURE_NAMING',
    `${o.verifyHost ?? o.host} is not who answers: it may be ${o.subjectAltNames.slice(0, 3).join(', ')}, and the server is ${carried.slice(0, 3).join(', ')}`,
    { details: { expected: o.subjectAltNames.slice(0, 10), presented: carried.slice(0, 10) } },
  );
}
