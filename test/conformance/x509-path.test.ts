import { X509Certificate } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readCertificateFacts } from '../../packages/core/src/x509/certificate-facts.js';
import { findPath, type Candidate } from '../../packages/core/src/x509/path.js';
import { parsePem } from '../../packages/core/src/x509/pem.js';
import { isStrongKey } from '../../packages/core/src/x509/strength.js';

// Chains of the web's PKI: not one is an SVID, so the search for a path is asked alone. What an SVID's leaf may be is x509-svid.test.ts.
const corpora = process.env.ENMESH_CORPORA ?? resolve(import.meta.dirname, '../../../shared/corpora');
const open = (name: string) => {
  const path = join(corpora, name);
  const absent = !existsSync(path);
  if (absent) console.log(`skip: no corpus ${name} (ENMESH_CORPORA)`);
  return { absent, data: absent ? undefined : (JSON.parse(readFileSync(path, 'utf8')) as unknown) };
};

const candidates = (pem: string): Candidate[] =>
  parsePem(pem, 'CERTIFICATE').map((der) => {
    const facts = readCertificateFacts(der);
    const x509 = new X509Certificate(der);
    return { x509, key: x509.publicKey, facts };
  });
const readable = (pems: readonly string[]): Candidate[] =>
  pems.flatMap((pem) => {
    try {
      return candidates(pem);
    } catch {
      return [];
    }
  });
const isAccepted = (
  leafPem: string,
  others: readonly string[],
  rootPems: readonly string[],
  now: number,
  name: string | undefined,
): boolean => {
  const [leaf] = readable([leafPem]);
  if (leaf === undefined || !isStrongKey(leaf.key)) return false;
  const isNamed =
    name === undefined ||
    (isIP(name) > 0 ? leaf.x509.checkIP(name) : leaf.x509.checkHost(name, { subject: 'never' })) !== undefined;
  return isNamed && findPath({ leaf, intermediates: readable(others), roots: readable(rootPems), now }) !== undefined;
};
const idsOf = (groups: Readonly<Record<string, readonly string[]>>) => Object.values(groups).flat().sort();

const better = open('bettertls/bettertls.json');
describe.skipIf(better.absent)('BetterTLS', () => {
  interface Case {
    readonly id: number;
    readonly chain: readonly [string, ...string[]];
    readonly hostname: string;
    readonly expected: string;
  }
  type Suite = 'nameconstraints' | 'pathbuilding';
  const data = better.data as
    (Readonly<Record<Suite, { readonly cases: readonly Case[] }>> & { readonly trustRoot: string }) | undefined;
  const verdicts = (suite: Suite) =>
    (data?.[suite].cases ?? []).map(({ id, chain: [leaf, ...others], hostname, expected }) => {
      const [issued] = readable([leaf]);
      return {
        id,
        expected,
        accepted: isAccepted(leaf, others, [data?.trustRoot ?? ''], (issued?.facts.notBefore ?? 0) + 7 * 86_400_000, hostname),
      };
    });

  it('finds a way through every chain that has one, and through no other', () => {
    const found = verdicts('pathbuilding');
    expect(found.filter(({ expected, accepted }) => accepted !== (expected === 'PASS'))).toEqual([]);
    expect(found.length).toBeGreaterThan(80);
  });

  it('obeys name constraints: what must fail fails, and only constraints on addresses are refused beyond need', () => {
    const found = verdicts('nameconstraints');
    expect(found.filter(({ expected, accepted }) => expected === 'FAIL' && accepted)).toEqual([]);
    expect(found.filter(({ expected, accepted }) => expected === 'PASS' && !accepted).map(({ id }) => id)).toEqual(
      betterExceptions,
    );
  });
});

// Each constrains addresses and has one: such constraints are not judged, so the names are refused (name-constraints.ts).
const betterExceptions: readonly number[] = [
  360, 1104, 1800, 2520, 3264, 4464, 5016, 5208, 5472, 5688, 5976, 6408, 6720, 6936, 7200, 7392, 7416, 7440, 7632, 7656, 7920,
];

const limbo = open('x509-limbo/limbo.json');
describe.skipIf(limbo.absent)('x509-limbo', () => {
  interface Case {
    readonly id: string;
    readonly expected_result: 'SUCCESS' | 'FAILURE';
    readonly peer_certificate: string;
    readonly untrusted_intermediates: readonly string[];
    readonly trusted_certs: readonly string[];
    readonly validation_time: string | null;
    readonly expected_peer_name: { readonly value: string } | null;
  }
  const { testcases } = (limbo.data ?? { testcases: [] }) as { testcases: readonly Case[] };
  const verdicts = testcases.map((one) => {
    const now = one.validation_time === null ? Date.now() : Date.parse(one.validation_time);
    const accepted = isAccepted(
      one.peer_certificate,
      one.untrusted_intermediates,
      one.trusted_certs,
      now,
      one.expected_peer_name?.value,
    );
    return { id: one.id, expected: one.expected_result === 'SUCCESS', accepted };
  });

  it('accepts nothing that must fail but for the exceptions', () => {
    expect(
      verdicts
        .filter(({ expected, accepted }) => accepted && !expected)
        .map(({ id }) => id)
        .sort(),
    ).toEqual(idsOf(lenient));
  });

  it('refuses nothing that is good but for the exceptions', () => {
    expect(
      verdicts
        .filter(({ expected, accepted }) => !accepted && expected)
        .map(({ id }) => id)
        .sort(),
    ).toEqual(idsOf(stricter));
  });
});

const lenient: Readonly<Record<string, readonly string[]>> = {
  'revocation lists are not read: SVIDs are short-lived': [
    'crl::crlnumber-critical',
    'crl::crlnumber-missing',
    'crl::issuer-missing-crlsign',
    'crl::revoked-certificate-with-crl',
  ],
  'the case asks for a limit of its own; ours is eight certificates': [
    'pathlen::max-chain-depth-0-exhausted',
    'pathlen::max-chain-depth-1-exhausted',
  ],
  'a rule for leaves, which verifySvidLeaf keeps': [
    'rfc5280::eku::ee-eku-empty',
    'rfc5280::eku::ee-wrong-eku',
    'rfc5280::leaf-ku-keycertsign',
    'rfc5280::nc::not-allowed-in-ee-critical',
    'rfc5280::nc::not-allowed-in-ee-noncritical',
    'rfc5280::unknown-critical-extension-ee',
    'webpki::ca-as-leaf',
    'webpki::ee-basicconstraints-ca',
    'webpki::eku::ee-anyeku',
  ],
  'identifiers of keys only help to find an issuer; the signature decides': [
    'rfc5280::aki::cross-signed-root-missing-aki',
    'rfc5280::aki::intermediate-missing-aki',
    'rfc5280::aki::leaf-missing-aki',
    'rfc5280::ski::intermediate-missing-ski',
    'rfc5280::ski::root-missing-ski',
    'webpki::aki::root-with-aki-all-fields',
    'webpki::aki::root-with-aki-authoritycertissuer',
    'webpki::aki::root-with-aki-authoritycertserialnumber',
    'webpki::aki::root-with-aki-missing-keyidentifier',
    'webpki::aki::root-with-aki-ski-mismatch',
  ],
  'a duty of authorities that changes nothing of what is proved': [
    'rfc5280::ca-empty-subject',
    'rfc5280::ee-critical-aia-invalid',
    'rfc5280::nc::permitted-dns-match-noncritical',
    'rfc5280::pc::ica-noncritical-pc',
    'rfc5280::root-non-critical-basic-constraints',
    'rfc5280::san::noncritical-with-empty-subject',
    'rfc5280::serial::zero',
    'webpki::eku::ee-critical-eku',
    'webpki::eku::ee-without-eku',
    'webpki::forbidden-rsa-key-not-divisible-by-8-in-leaf',
    'webpki::forbidden-rsa-not-divisible-by-8-in-root',
    'webpki::malformed-aia',
    'webpki::san::san-critical-with-nonempty-subject',
  ],
  'common and DNS names of the web: an SVID is known by its URI alone': [
    'rfc5280::san::underscore-dns',
    'webpki::cn::case-mismatch',
    'webpki::cn::ipv4-hex-mismatch',
    'webpki::cn::ipv4-leading-zeros-mismatch',
    'webpki::cn::ipv6-non-rfc5952-mismatch',
    'webpki::cn::ipv6-uncompressed-mismatch',
    'webpki::cn::ipv6-uppercase-mismatch',
    'webpki::cn::not-in-san',
    'webpki::cn::punycode-not-in-san',
    'webpki::cn::utf8-vs-punycode-mismatch',
    'webpki::san::public-suffix-multi-label-wildcard-san',
    'webpki::san::public-suffix-private-namespace-wildcard-san',
    'webpki::san::wildcard-embedded-leftmost-san',
  ],
};

const stricter: Readonly<Record<string, readonly string[]>> = {
  'a signer for servers only may not sign SVIDs, which are for both sides': ['online::bing.com', 'online::microsoft.com'],
  'self-issued certificates are counted and constrained like any other': [
    'pathlen::self-issued-certs-pathlen',
    'rfc5280::nc::permitted-self-issued',
  ],
  'constraints on such names are not judged, so the names are refused': [
    'rfc5280::nc::nc-permits-email-domain',
    'rfc5280::nc::nc-permits-email-exact',
    'rfc5280::nc::nc-permits-email-literal-asterisk-exact-match',
    'rfc5280::nc::nc-permits-email-literal-double-asterisk',
    'rfc5280::nc::nc-permits-email-literal-mid-asterisk',
    'rfc5280::nc::permitted-dn-match',
    'rfc5280::nc::permitted-ipv4-match',
    'rfc5280::nc::permitted-ipv6-match',
    'webpki::nc::nc-permits-dns-san-pattern',
  ],
  'a certificate ends at its second, not at the end of it': ['rfc5280::validity::notafter-fractional'],
};
