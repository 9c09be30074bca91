import type { KeyObject } from 'node:crypto';
import { EnmeshError, isEnmeshError, noticeEvents } from '@enmesh/core/issuance';
import { issueCertificate, parseCsr, parsePem, readCertificateFacts, svidOptions } from '@enmesh/core/x509';
import { addressKey } from './address.js';
import type { Authority } from './authority.js';
import type { Authenticate, Caller, Proof } from './callers.js';
import { unproved } from './callers.js';
import type { DenyList } from './deny-list.js';
import type { IssuanceLog } from './issuance-log.js';
import { keyHash } from './key-hash.js';
import { createRateLimit } from './rate-limit.js';
import type { CaSettings } from './settings.js';
import { checkTime } from './signing-files.js';

/** What one caller asks for. */
export interface SigningRequest {
  /** PKCS #10 in PEM. */
  readonly csr: string;
  /** Seconds; 0 or less for the default. */
  readonly validitySeconds: number;
  /** Another identity that the caller wants to speak for, which nobody may. */
  readonly impersonated: string | undefined;
  readonly proof: Proof;
  /** Where the call came from, for limits and the log. */
  readonly address: string;
}

/** Gives a caller its certificate: PEM, leaf first, then intermediates, the trusted roots together in the last element. */
export type Issue = (request: SigningRequest) => Promise<readonly string[]>;

const backdatedMs = 120_000;

/**
 * Creates the decision that a certificate authority is made of: who calls, may they, what do they get. A certificate says only what the caller proved
 * to be; of the request it has the public key, whose private half the request proves. It is given out when the log has it on disk.
 * Rejects with `ENMESH_CA_UNPROVED`, `ENMESH_CA_DENIED`, `ENMESH_CA_REQUEST`, `ENMESH_X509_CSR_INVALID`, `ENMESH_CA_LIMIT`, `ENMESH_CA_EXPIRED`
 * or `ENMESH_CA_LOG`; each rejection is also a notice.
 */
export function createIssuer(o: {
  readonly settings: CaSettings;
  readonly authority: Authority;
  readonly authenticate: Authenticate;
  readonly denyList: DenyList;
  readonly log: IssuanceLog;
  readonly clock: () => number;
}): Issue {
  const { settings, clock, denyList } = o;
  const { limits } = settings;
  const byAddress = createRateLimit({ perMinute: limits.perAddressPerMinute, clock });
  const byCaller = createRateLimit({ perMinute: limits.perCallerPerMinute, clock });
  const tellRefused = createTeller(clock);
  let running = 0;
  const decide = async (request: SigningRequest): Promise<readonly string[]> => {
    if (!byAddress.take(addressKey(request.address))) throw limited('too many requests from its address');
    await denyList.refresh();
    const caller = await o.authenticate(request.proof, clock());
    checkDenied(caller, denyList);
    if (!byCaller.take(caller.identity)) throw limited(`too many requests of ${caller.identity}`);
    if (request.impersonated !== undefined && request.impersonated !== caller.identity)
      throw unproved(`${caller.identity} asked to be somebody else`);
    const key = keyOf(request.csr, caller.identity);
    const lifeMs = lifeOf(request.validitySeconds, settings);
    checkTime(o.authority.current().signer, settings.directory, clock());
    // Used up as late as can be, so that a faulty request does not cost the token; nothing is signed for whoever came second.
    await caller.take?.();
    return sign({ caller, key, lifeMs, address: request.address, authority: o.authority, log: o.log, now: clock() });
  };
  return async (request) => {
    running++;
    try {
      if (running > limits.concurrent) throw limited('too many requests at one time');
      return await decide(request);
    } catch (error) {
      tellRefused(error, request.address);
      throw error;
    } finally {
      running--;
    }
  };
}

function checkDenied({ identity, serial }: Caller, denyList: DenyList): void {
  if (denyList.hasIdentity(identity)) throw new EnmeshError('ENMESH_CA_DENIED', `The deny list names ${identity}`);
  if (serial !== undefined && denyList.hasSerial(serial))
    throw new EnmeshError('ENMESH_CA_DENIED', `The deny list names the certificate ${serial} of ${identity}`);
}

function keyOf(csr: string, identity: string): KeyObject {
  const { publicKey, uriSans } = parseCsr(csr);
  // Other names are wishes that nobody hears; another identity is a mistake that its owner should hear of.
  if (uriSans.some((uri) => uri !== identity))
    throw badRequest('the request names another identity than the one that was proved');
  return publicKey;
}

function lifeOf(seconds: number, { ttlSeconds, maxTtlSeconds }: CaSettings): number {
  if (!(seconds > 0)) return ttlSeconds * 1000;
  // Istio's words: clients look for them to ask again for less.
  if (seconds > maxTtlSeconds)
    throw badRequest(`requested TTL ${goDuration(seconds)} is greater than the max allowed TTL ${goDuration(maxTtlSeconds)}`);
  return seconds * 1000;
}

/** Seconds as Go prints a duration: `3h0m0s`. */
function goDuration(seconds: number): string {
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  const head = hours > 0 ? `${hours}h${minutes}m` : minutes > 0 ? `${minutes}m` : '';
  return `${head}${seconds % 60}s`;
}

async function sign(o: {
  readonly caller: Caller;
  readonly key: KeyObject;
  readonly lifeMs: number;
  readonly address: string;
  readonly authority: Authority;
  readonly log: IssuanceLog;
  readonly now: number;
}): Promise<readonly string[]> {
  const { caller, key, now, address } = o;
  const { signer, roots } = o.authority.current();
  const leaf = await issueCertificate({
    ...svidOptions(caller.identity, key),
    issuer: signer.certificate,
    issuerKey: signer.key,
    notBefore: now - backdatedMs,
    notAfter: Math.min(Math.ceil((now + o.lifeMs) / 1000) * 1000, signer.notAfter),
  });
  const { serial, notAfter } = readCertificateFacts(parsePem(leaf, 'CERTIFICATE')[0] ?? Buffer.alloc(0));
  const { identity, method, proof } = caller;
  const until = new Date(notAfter).toISOString();
  await o.log.append({
    time: new Date(now).toISOString(),
    serial,
    identity,
    method,
    proof,
    notAfter: until,
    publicKeySha256: keyHash(key),
    address,
  });
  if (noticeEvents.hasSubscribers) {
    const message = `${identity} by ${method} from ${address}, serial ${serial}, until ${until}`;
    noticeEvents.publish({
      kind: 'certificate-issued',
      // Rare, and somebody should know: a workload was away for longer than its certificate lived.
      level: method === 'expired-certificate' ? 'warn' : 'info',
      message,
      details: { identity, method, serial, notAfter, address },
    });
  }
  return [leaf, ...signer.intermediates, roots.join('')];
}

/** Tells of refusals; of those by a limit one a second, with the number of the others: whoever is over a limit must not fill the log. */
function createTeller(clock: () => number): (error: unknown, address: string) => void {
  let toldAt = -Infinity;
  let held = 0;
  return (error, address) => {
    if (!noticeEvents.hasSubscribers) return;
    const known = isEnmeshError(error) ? error : undefined;
    let more = '';
    if (known?.code === 'ENMESH_CA_LIMIT') {
      if (Math.abs(clock() - toldAt) < 1000) return void held++;
      toldAt = clock();
      more = held === 0 ? '' : `; and ${held} times before`;
      held = 0;
    }
    const message = `${address}: ${known?.message ?? 'the request failed'}${more}`;
    const level = known !== undefined && known.status < 500 ? 'warn' : 'error';
    const code = known === undefined ? {} : { code: known.code };
    noticeEvents.publish({ kind: 'certificate-refused', level, message, details: { address }, ...code });
  };
}

function badRequest(problem: string): EnmeshError {
  return new EnmeshError('ENMESH_CA_REQUEST', problem);
}

function limited(problem: string): EnmeshError {
  return new EnmeshError('ENMESH_CA_LIMIT', problem);
}
