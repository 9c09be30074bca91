import type { KeyObject } from 'node:crypto';
import { EnmeshError, isEnmeshError, type X509Svid } from '@enmesh/core/issuance';
import { formatPem, parsePem, parseX509Svid, readCertificateFacts, verifySvidChain } from '@enmesh/core/x509';

/** Whose certificate was asked for, and with which key. */
export interface Asked {
  readonly uri: string;
  readonly trustDomain: string;
  readonly key: KeyObject;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** A certificate that is taken, and the roots that came with it, PEM, one certificate each. */
export interface Answer {
  readonly svid: X509Svid;
  readonly roots: readonly string[];
}

const maxElements = 16;
const maxRoots = 64;
const maxText = 256 * 1024;

/**
 * Reads the chain that a CA answered with (`cert_chain`: the leaf, intermediates, the roots in the last element) and takes it only when its leaf is an
 * X.509-SVID of exactly the identity asked for, with the key asked for, valid now, and signed by the roots that came along. A root that is repeated among
 * the intermediates, as istiod does, is left out of the SVID's chain. Throws `ENMESH_ISSUANCE_CA_ANSWER`, or `ENMESH_ISSUANCE_CLOCK` where the
 * certificate has not begun.
 */
export function readAnswer(chain: readonly string[], asked: Asked): Answer {
  try {
    return takeAnswer(chain, asked);
  } catch (error) {
    if (isEnmeshError(error, 'ENMESH_ISSUANCE_CA_ANSWER') || isEnmeshError(error, 'ENMESH_ISSUANCE_CLOCK')) throw error;
    throw unusable(isEnmeshError(error) ? error.message : 'it cannot be read', error);
  }
}

/** An error for an answer that is not taken. */
export function unusable(reason: string, cause?: unknown): EnmeshError {
  return new EnmeshError('ENMESH_ISSUANCE_CA_ANSWER', `the answer of the CA is not taken: ${reason}`, { cause });
}

function takeAnswer(chain: readonly string[], { uri, trustDomain, key, now }: Asked): Answer {
  if (chain.length < 2) throw unusable(`it has ${chain.length} certificates, and a leaf and a root are needed`);
  if (chain.length > maxElements) throw unusable(`its chain has more than ${maxElements} parts`);
  if (chain.reduce((sum, { length }) => sum + length, 0) > maxText) throw unusable('it is longer than 256 KiB');
  const roots = rootsOf(chain.at(-1) ?? '');
  const certificates = chain.slice(0, -1).flatMap((pem) => parsePem(pem, 'CERTIFICATE'));
  const [leaf, ...intermediates] = certificates;
  if (leaf === undefined) throw unusable('there is no certificate in it');
  const further = intermediates.map((der) => formatPem('CERTIFICATE', der)).filter((pem) => !roots.includes(pem));
  const svid = parseX509Svid({ chain: [formatPem('CERTIFICATE', leaf), ...further].join(''), privateKey: key });
  if (svid.id.uri !== uri)
    throw unusable(`it names ${svid.id.uri}, and ${uri} was asked for: the CA takes the caller for somebody else`);
  if (now < svid.notBefore) throw new EnmeshError('ENMESH_ISSUANCE_CLOCK', clockText(svid.notBefore, now));
  verifySvidChain({ leaf, intermediates, bundles: new Map([[trustDomain, { trustDomain, roots }]]), now });
  return { svid, roots };
}

function rootsOf(pem: string): readonly string[] {
  const found = [...new Set(parsePem(pem, 'CERTIFICATE').map((der) => formatPem('CERTIFICATE', der)))];
  if (found.length === 0) throw unusable('its last part holds no root');
  if (found.length > maxRoots) throw unusable(`it has more than ${maxRoots} roots`);
  for (const root of found) for (const der of parsePem(root, 'CERTIFICATE')) readCertificateFacts(der);
  return found;
}

function clockText(notBefore: number, now: number): string {
  return `the clock (${new Date(now).toISOString()}) stands before the beginning of the certificate that the CA gave (${new Date(notBefore).toISOString()})`;
}
