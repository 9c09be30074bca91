import { X509Certificate, type KeyObject } from 'node:crypto';
import { join } from 'node:path';
import { fileProblem, isEnmeshError, isJoinToken, readSmallFile, type X509Svid } from '@enmesh/core/issuance';
import { parsePem, readCertificateFacts, readPrivateKey } from '@enmesh/core/x509';
import type { IstioSettings } from './settings.js';

/** One way to prove to the CA who is asking: a token, or a client certificate with its intermediates (PEM, leaf first). Never both: the certificate would win. */
export interface Proof {
  /** For people; never the token. */
  readonly description: string;
  readonly token?: string;
  readonly certificate?: { readonly chain: string; readonly key: KeyObject };
  /** Whether it is shown only for want of anything that is good. */
  readonly isLast?: true;
}

/** What there is to prove with, best first, and what is wrong with the rest, one sentence each. */
export interface Proofs {
  readonly proofs: readonly Proof[];
  readonly doubts: readonly string[];
}

const maxTokenBytes = 64 * 1024;
const maxPemBytes = 256 * 1024;

/** What there is to prove with besides the files. */
export interface Holding {
  /** The SVID that is held now, if it is valid. */
  readonly svid: X509Svid | undefined;
  /** The SVID that was held last, where it has ended. */
  readonly ended: X509Svid | undefined;
  /** Whether a token has already brought a certificate. */
  readonly isUsed: (token: string) => boolean;
}

/**
 * Collects, anew for each certificate, the token of the file, the SVID that is held, and the certificate of `provCert`. A certificate that has expired is
 * no proof: with it the CA could not even be reached. A join token is for those who have nothing else: the SVID goes before it, and one that has brought a
 * certificate is never shown again. Where nothing else is left, an SVID of ours that has ended is: an authority may renew it within a time of its own
 * (`renewExpiredWithin` of `@enmesh/ca`).
 */
export async function collectProofs(
  settings: IstioSettings,
  { svid: held, ended, isUsed }: Holding,
  now: number,
): Promise<Proofs> {
  const [shown, provided] = await Promise.all([readToken(settings.tokenFile), readProvided(settings.provCert, now)]);
  const own: Proof[] =
    held === undefined ? [] : [{ description: 'the present SVID', certificate: { chain: held.chain, key: held.privateKey } }];
  const text = typeof shown === 'string' ? '' : (shown?.token ?? '');
  const once = isJoinToken(text);
  const isSpent = once && isUsed(text);
  const spent = `the join token of ${settings.tokenFile} was used, for it is good for one certificate: put a new one there`;
  // With an SVID that renews itself, a used token that still lies there is as it should be.
  const token = isSpent ? (own.length > 0 ? [] : [spent]) : shown === undefined ? [] : [shown];
  const others = provided === undefined ? [] : [provided];
  const found = once ? [...own, ...token, ...others] : [...token, ...own, ...others];
  const proofs = found.filter((proof) => typeof proof !== 'string');
  const doubts = found.filter((proof) => typeof proof === 'string');
  return proofs.length === 0 && ended !== undefined ? { proofs: [endedProof(ended, doubts)], doubts } : { proofs, doubts };
}

function endedProof({ chain, privateKey, notAfter }: X509Svid, doubts: readonly string[]): Proof {
  const why = doubts.length === 0 ? '' : ` (${doubts.join('; ')})`;
  const description = `the SVID that ended at ${new Date(notAfter).toISOString()}, for want of anything else${why}`;
  return { description, certificate: { chain, key: privateKey }, isLast: true };
}

async function readToken(path: string | undefined): Promise<Proof | string | undefined> {
  if (path === undefined) return undefined;
  const absent = (reason: string): string => `no token in ${path}: ${reason}`;
  try {
    const token = (await readSmallFile(path, maxTokenBytes)).text.trim();
    if (token === '') return absent('it is empty');
    if (!/^[\x21-\x7e]+$/.test(token)) return absent('what it holds is none');
    return { description: `the token of ${path}`, token };
  } catch (error) {
    return absent(fileProblem(error));
  }
}

async function readProvided(directory: string | undefined, now: number): Promise<Proof | string | undefined> {
  if (directory === undefined) return undefined;
  const useless = (reason: string): string => `no client certificate in ${directory}: ${reason}`;
  try {
    const { text: chain } = await readSmallFile(join(directory, 'cert-chain.pem'), maxPemBytes);
    const key = readPrivateKey((await readSmallFile(join(directory, 'key.pem'), maxPemBytes)).text);
    const [leaf] = parsePem(chain, 'CERTIFICATE');
    if (leaf === undefined) return useless('cert-chain.pem holds none');
    const { notAfter, notBefore } = readCertificateFacts(leaf);
    if (now < notBefore || now >= notAfter)
      return useless(now < notBefore ? 'it is not yet valid' : `it expired at ${new Date(notAfter).toISOString()}`);
    if (!new X509Certificate(leaf).checkPrivateKey(key)) return useless('key.pem is not its key');
    return { description: `the client certificate in ${directory}`, certificate: { chain, key } };
  } catch (error) {
    return useless(isEnmeshError(error) ? error.message : fileProblem(error));
  }
}
