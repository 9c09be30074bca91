import type { KeyObject, X509Certificate } from 'node:crypto';
import { extendedKeyUsageOid } from './extensions.js';
import { isNameAllowed } from './name-constraints.js';
import type { CertificateFacts } from './certificate-facts.js';
import { isStrongKey, isStrongSignature } from './strength.js';

/** A certificate in both readings: OpenSSL's for names and signatures, our own for what they allow. */
export interface Candidate {
  readonly x509: X509Certificate;
  readonly key: KeyObject;
  readonly facts: CertificateFacts;
}

/** What `findPath` begins with; `now` in milliseconds since the epoch. */
export interface PathQuery {
  readonly leaf: Candidate;
  readonly intermediates: readonly Candidate[];
  readonly roots: readonly Candidate[];
  readonly now: number;
}

const maxDepth = 8;
const maxVerifications = 64;

/**
 * Looks for a chain of certificates from the leaf to one of the roots in which each is signed by the next, is valid now and may do what it
 * does there (RFC 5280 section 6: CA flag, keyCertSign, path length, name constraints, critical extensions). Returns it with the leaf first,
 * or undefined. Intermediates may come in any order. The work is bounded: 8 levels, 64 signatures.
 */
export function findPath(query: PathQuery): readonly Candidate[] | undefined {
  const budget = { left: maxVerifications };
  const climb = (chain: readonly Candidate[]): readonly Candidate[] | undefined => {
    const root = query.roots.find((issuer) => mayIssue(chain, issuer, query.now, budget));
    if (root !== undefined) return [...chain, root];
    if (chain.length >= maxDepth) return undefined;
    for (const issuer of query.intermediates) {
      if (chain.includes(issuer) || !mayIssue(chain, issuer, query.now, budget)) continue;
      const found = climb([...chain, issuer]);
      if (found !== undefined) return found;
    }
    return undefined;
  };
  return isValidAt(query.leaf.facts, query.now) ? climb([query.leaf]) : undefined;
}

/** Whether the certificate is valid at this time, both ends included (RFC 5280 section 4.1.2.5). */
export function isValidAt(facts: CertificateFacts, now: number): boolean {
  return now >= facts.notBefore && now <= facts.notAfter;
}

/**
 * Whether a certificate may sign SVIDs or their signers at all: CA flag, keyCertSign if usages are listed, both purposes of an SVID if purposes are,
 * a strong key, nothing critical unknown.
 */
function isSigner(candidate: Candidate): boolean {
  const { isCa, keyUsage, extendedKeyUsage, unknownCritical } = candidate.facts;
  const { any, serverAuth, clientAuth } = extendedKeyUsageOid;
  const isPurposeAllowed = (oid: string): boolean => extendedKeyUsage === undefined || extendedKeyUsage.includes(oid);
  if (!isPurposeAllowed(any) && !(isPurposeAllowed(serverAuth) && isPurposeAllowed(clientAuth))) return false;
  return isCa && keyUsage?.has('keyCertSign') !== false && unknownCritical.length === 0 && isStrongKey(candidate.key);
}

function mayIssue(chain: readonly Candidate[], issuer: Candidate, now: number, budget: { left: number }): boolean {
  const subject = chain.at(-1);
  if (subject === undefined || !subject.x509.checkIssued(issuer.x509)) return false;
  if (!isSigner(issuer) || !isValidAt(issuer.facts, now) || !isStrongSignature(subject.facts.signatureAlgorithm)) return false;
  const { pathLength, nameConstraints } = issuer.facts;
  if (pathLength !== undefined && chain.length - 1 > pathLength) return false;
  if (nameConstraints !== undefined && !chain.every(({ facts }) => isNameAllowed(nameConstraints, facts))) return false;
  if (budget.left === 0) return false;
  budget.left -= 1;
  return subject.x509.verify(issuer.key);
}
