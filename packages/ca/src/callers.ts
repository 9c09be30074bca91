import { X509Certificate } from 'node:crypto';
import { EnmeshError, formatIstioId, isEnmeshError, isJoinToken, istioParts } from '@enmesh/core/issuance';
import { readCertificateFacts, verifySvidChain } from '@enmesh/core/x509';
import type { Authority } from './authority.js';
import { findJoinToken } from './join-tokens.js';
import type { TokenCallers } from './jwt-callers.js';
import { keyHash } from './key-hash.js';
import type { LateRenewals } from './late-renewals.js';
import type { CaSettings } from './settings.js';
import type { TokenReviewer } from './token-review.js';

/** What a caller shows. Certificates are DER, from the live connection. */
export interface Proof {
  readonly token: string | undefined;
  readonly certificate: ShownCertificate | undefined;
}

/** A client certificate as it came: `problem` is set when the handshake did not accept it. That its key is held the handshake proves in any case. */
export interface ShownCertificate {
  readonly leaf: Buffer;
  readonly intermediates: readonly Buffer[];
  readonly problem: string | undefined;
  /** Whether it is certain that the connection of the call showed it. */
  readonly isSure: boolean;
}

/** Who calls, and how that is known. */
export interface Caller {
  readonly identity: string;
  readonly method: 'certificate' | 'expired-certificate' | 'join-token' | 'jwt' | 'token-review';
  /** For the log: a serial number, a token's id, an issuer. Never a token. */
  readonly proof: string;
  /** The serial number of the certificate that was shown. */
  readonly serial?: string;
  /** Uses the proof up where it counts once. Rejects with `ENMESH_CA_UNPROVED` when it was used before, somebody having been quicker. */
  take?(): Promise<void>;
}

/** Finds out who calls. Rejects with `ENMESH_CA_UNPROVED`, whose message has the cause for operators. */
export type Authenticate = (proof: Proof, now: number) => Promise<Caller>;

/**
 * Proves callers by, in this order: the certificate that they renew, a join token, a token of a known issuer, Kubernetes' TokenReview. As with istiod
 * a good certificate is enough, whatever token comes with it; one that is not good any more leaves the token to decide, and counts by itself only where there is
 * no token, its end is not long ago (`renewExpiredWithin`, off by default), and the issuance log knows it as the last of its line.
 */
export function createAuthenticator(o: {
  readonly settings: CaSettings;
  readonly authority: Authority;
  readonly tokens: TokenCallers;
  readonly reviewer: TokenReviewer | undefined;
  readonly lateRenewals: LateRenewals;
}): Authenticate {
  const { settings, tokens, reviewer } = o;
  const { trustDomain } = settings;
  const caller = (method: Caller['method'], proof: string, who: { namespace: string; serviceAccount: string }): Caller => ({
    identity: identityOf({ trustDomain, namespace: who.namespace, serviceAccount: who.serviceAccount }),
    method,
    proof,
  });
  const byToken = async (token: string, now: number): Promise<Caller> => {
    if (isJoinToken(token)) {
      const found = settings.joinTokens ? await findJoinToken(settings.directory, token, now) : undefined;
      if (found === undefined) throw unproved('the join token is unknown, was used, or has expired');
      const take = async (): Promise<void> => {
        if (!(await found.take())) throw unproved('the join token was used a moment ago');
      };
      return { ...caller('join-token', found.id, found), take };
    }
    const known = await tokens.identify(token, now);
    if (known !== undefined) return caller('jwt', known.issuer, known);
    if (reviewer === undefined) throw unproved('the token is of no known issuer');
    return caller('token-review', settings.tokenReview?.url ?? '', await reviewer.review(token));
  };
  return async ({ token, certificate }, now) => {
    let problem = '';
    if (certificate !== undefined) {
      const known = attempt(() => certificateCaller(certificate, o, now));
      if (typeof known !== 'string' && (known.method === 'certificate' || token === undefined)) return known;
      problem = `the certificate: ${typeof known === 'string' ? known : 'it has expired'}`;
    }
    if (token === undefined) throw unproved(problem === '' ? 'neither token nor certificate' : problem);
    try {
      return await byToken(token, now);
    } catch (error) {
      const reason = isEnmeshError(error) ? error.message : 'a check failed';
      throw isEnmeshError(error, 'ENMESH_CA_UNPROVED') && problem === ''
        ? error
        : unproved([problem, reason].filter(Boolean).join('; '));
    }
  };
}

interface Believing {
  readonly settings: CaSettings;
  readonly authority: Authority;
  readonly lateRenewals: LateRenewals;
}

function certificateCaller(shown: ShownCertificate, { settings, authority, lateRenewals }: Believing, now: number): Caller {
  const { trustDomain, renewExpiredSeconds } = settings;
  const isLate = shown.problem === 'CERT_HAS_EXPIRED' && renewExpiredSeconds > 0;
  if (shown.problem !== undefined && !isLate) throw unproved(`the handshake did not accept it (${shown.problem})`);
  const { bundles, intermediates } = authority.current();
  const known = intermediates.map((pem) => Buffer.from(pem.replace(/-----.*-----|\s/g, ''), 'base64'));
  const id = verifySvidChain({
    leaf: shown.leaf,
    intermediates: [...shown.intermediates.slice(0, 4), ...known].slice(0, 10),
    bundles,
    // Everything but its end has to be as it was while it lived, below a root that is still trusted.
    now: isLate ? lastMoment(shown, renewExpiredSeconds, now) : now,
  });
  const parts = istioParts(id);
  if (parts === undefined) throw unproved(`${id.uri} is no identity of a service account`);
  const { serial } = readCertificateFacts(shown.leaf);
  const identity = identityOf({ trustDomain, ...parts });
  if (!isLate) return { identity, method: 'certificate', proof: serial, serial };
  const take = async (): Promise<void> => {
    const publicKeySha256 = keyHash(new X509Certificate(shown.leaf).publicKey);
    const objection = await lateRenewals.take({ serial, identity, publicKeySha256 });
    if (objection !== undefined) throw unproved(`the certificate ${serial} of ${identity} has expired, and ${objection}`);
  };
  return { identity, method: 'expired-certificate', proof: serial, serial, take };
}

/** The end of a certificate that may still be renewed. */
function lastMoment({ leaf, isSure }: ShownCertificate, renewExpiredSeconds: number, now: number): number {
  const { notAfter } = readCertificateFacts(leaf);
  // The handshake looks at the clock of the machine, and what has expired may be one that signs this one.
  if (!(now > notAfter)) throw unproved('the handshake did not accept it (a certificate of its chain has expired)');
  if (!(now - notAfter <= renewExpiredSeconds * 1000))
    throw unproved(`it ended at ${new Date(notAfter).toISOString()}, and renewExpiredWithin is shorter than that`);
  if (!isSure) throw unproved('it has expired, and two connections have the name of the one that showed it');
  return notAfter;
}

function identityOf(parts: {
  readonly trustDomain: string;
  readonly namespace: string;
  readonly serviceAccount: string;
}): string {
  try {
    return formatIstioId(parts);
  } catch {
    throw unproved('what the caller proved is no namespace and service account');
  }
}

function attempt<T>(check: () => T): T | string {
  try {
    return check();
  } catch (error) {
    return isEnmeshError(error) ? error.message : 'it cannot be checked';
  }
}

/** The refusal of a caller: `reason` is for operators and never goes to the caller. */
export function unproved(reason: string): EnmeshError {
  return new EnmeshError('ENMESH_CA_UNPROVED', reason);
}
