import { generateKeyPair, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import { EnmeshError, type Timer, type X509Svid } from '@enmesh/core/issuance';
import { createCsr } from '@enmesh/core/x509';
import { readAnswer, type Answer } from './answer.js';
import { callCa } from './call.js';
import { collectProofs, type Proof } from './proofs.js';
import { isPassing, isTtlRefused, mayAnotherProofDo, refusalOf } from './refusal.js';
import type { IstioSettings, KeyType } from './settings.js';

/** How a CA is asked for certificates. */
export interface AuthorityOptions {
  readonly settings: IstioSettings;
  /** The present roots of the CA in PEM; undefined for those of the system. */
  readonly roots: () => Promise<string | undefined>;
  /** The SVID that is held now, if it is valid. */
  readonly held: () => X509Svid | undefined;
  /** The SVID that was held last, if it has ended. */
  readonly ended: () => X509Svid | undefined;
  readonly clock: () => number;
  readonly random: () => number;
  readonly timer: Timer;
  /** How long one call may take; default 5 000. */
  readonly callTimeoutMs?: number | undefined;
  /** Ends what is under way. */
  readonly signal: AbortSignal;
  /** Something to look at while it goes on. */
  readonly warn: (message: string) => void;
}

/** One attempt of the agent: five tries, the pause doubling from 100 ms (at most an eighth of what is left of the SVID), each spread by a tenth. */
const tries = 5;
const firstPauseMs = 100;
const spread = 0.1;
const longestCallMs = 5_000;
/** Below what a rotation waits for, so that the error says what happened instead of that it took too long. */
const attemptMs = 20_000;

/**
 * Returns a function that gets a certificate with a fresh key: it proves itself with the token if there is one (a join token only where there is no certificate), else by client certificate, tries again as
 * Istio's agent does, and takes only what `readAnswer` takes. Rejects with `ENMESH_ISSUANCE_CREDENTIAL_MISSING`, `ENMESH_ISSUANCE_CA_UNREACHABLE`,
 * `ENMESH_ISSUANCE_CA_REFUSED`, `ENMESH_ISSUANCE_CA_ANSWER` or `ENMESH_ISSUANCE_CLOCK`.
 */
export function createAuthority(options: AuthorityOptions): () => Promise<Answer> {
  let ttlSeconds = options.settings.ttlSeconds;
  // The token that brought the last certificate by token.
  let usedToken: string | undefined;
  const attempt = async (): Promise<Answer> => {
    const { settings, clock, warn, callTimeoutMs = longestCallMs } = options;
    const { proofs, doubts } = await collectProofs(
      settings,
      { svid: options.held(), ended: options.ended(), isUsed: (token) => token === usedToken },
      clock(),
    );
    if (proofs.length === 0)
      throw new EnmeshError(
        'ENMESH_ISSUANCE_CREDENTIAL_MISSING',
        `there is nothing to prove to the CA who asks: ${doubts.join('; ') || 'JWT_POLICY speaks of no token, and there is no certificate (PROV_CERT)'}`,
      );
    if (doubts.length > 0 && proofs[0]?.isLast !== true) warn(`${doubts.join('; ')}; going on with ${proofs[0]?.description}`);
    const roots = await options.roots();
    const key = await newKey(settings.keyType);
    const csr = await createCsr({ key, uriSan: settings.uri });
    const ask = (proof: Proof, until: number): Promise<readonly string[]> => {
      const request = { csr, validity_duration: ttlSeconds, ...metadataOf(settings.certSigner) };
      return callCa({
        settings,
        request,
        proof,
        roots,
        timeoutMs: Math.min(callTimeoutMs, until - performance.now()),
        signal: options.signal,
      });
    };
    const shortened = async (proof: Proof, until: number): Promise<readonly string[]> => {
      try {
        return await ask(proof, until);
      } catch (error) {
        if (!isTtlRefused(error) || ttlSeconds === 0) throw error;
        warn(`The CA gives no certificate for ${ttlSeconds} s, its maximum is shorter: taking the life that it gives by itself`);
        ttlSeconds = 0;
        return ask(proof, until);
      }
    };
    const { chain, proof } = await askInTurn(options, proofs, shortened);
    usedToken = proof.token ?? usedToken;
    return readAnswer(chain, { ...settings, key, now: clock() });
  };
  return attempt;
}

type Ask = (proof: Proof, until: number) => Promise<readonly string[]>;

/** A chain, and the proof that it was given for. */
interface Believed {
  readonly chain: readonly string[];
  readonly proof: Proof;
}

/** Each proof in its turn, as long as the one before was not believed. */
async function askInTurn(options: AuthorityOptions, proofs: readonly Proof[], ask: Ask): Promise<Believed> {
  const until = performance.now() + attemptMs;
  for (const [index, proof] of proofs.entries()) {
    try {
      return { chain: await askAgain(options, () => ask(proof, until), until), proof };
    } catch (error) {
      const refusal = refusalOf(error, options.settings, proofs.slice(0, index + 1));
      const next = performance.now() < until && mayAnotherProofDo(error, proof) ? proofs[index + 1] : undefined;
      if (next === undefined) throw refusal;
      options.warn(`${refusal.message}; going on with ${next.description}`);
    }
  }
  throw new EnmeshError('ENMESH_ISSUANCE_CREDENTIAL_MISSING', 'there is nothing to prove to the CA who asks');
}

async function askAgain<T>(options: AuthorityOptions, ask: () => Promise<T>, until: number): Promise<T> {
  const { timer, random, signal } = options;
  for (let done = 1; ; done++) {
    try {
      return await ask();
    } catch (error) {
      const pause = Math.min(firstPauseMs * 2 ** (done - 1), longestPause(options)) * (1 + spread * (2 * random() - 1));
      const isOver = done >= tries || performance.now() + pause >= until || signal.aborted;
      if (isOver || !isPassing(error)) throw error;
      await new Promise<void>((wake) => void timer(wake, pause));
      if (signal.aborted) throw error;
    }
  }
}

/** The agent's pauses are made for certificates of hours: one of seconds may end within such a pause. */
function longestPause({ held, clock }: AuthorityOptions): number {
  const svid = held();
  return svid === undefined ? Infinity : Math.max(firstPauseMs, (svid.notAfter - clock()) / 8);
}

function metadataOf(certSigner: string | undefined): object {
  return certSigner === undefined ? {} : { metadata: { fields: { CertSigner: { string_value: certSigner } } } };
}

const generate = promisify(generateKeyPair);

/** Off the event loop: an RSA key takes long enough to be felt. */
async function newKey(type: KeyType): Promise<KeyObject> {
  const [, bits] = /^rsa-(\d+)$/.exec(type) ?? [];
  if (bits !== undefined) return (await generate('rsa', { modulusLength: Number(bits) })).privateKey;
  return (await generate('ec', { namedCurve: type === 'ecdsa-p256' ? 'prime256v1' : 'secp384r1' })).privateKey;
}
