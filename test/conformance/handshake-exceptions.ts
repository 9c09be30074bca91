// TLS that a DestinationRule originates leaves the mesh, so there chains are OpenSSL's to judge, at the security level of the Node line, and names Node's. In the mesh
// there are no exceptions: no case of these corpora is an SVID, and none is taken for one.

/** Cases that must fail and that TLS originated by a DestinationRule takes, by reason. */
export const lenientOrigination: Readonly<Record<string, readonly string[]>> = {
  'revocation lists are not read without `caCrl`': [
    'crl::crlnumber-critical',
    'crl::crlnumber-missing',
    'crl::issuer-missing-crlsign',
    'crl::revoked-certificate-with-crl',
  ],
  'the case asks for a limit of its own': ['pathlen::max-chain-depth-0-exhausted', 'pathlen::max-chain-depth-1-exhausted'],
  'OpenSSL compares the constraint with the name as it is written, not with every host that a wildcard stands for': [
    'cve::cve-2025-61727',
    'rfc5280::nc::nc-forbids-dnsname-wildcard-san',
  ],
  'OpenSSL takes a constraint or a name with a leading period for one with subdomains; the name still has to be the host': [
    'rfc5280::nc::invalid-dnsname-leading-period',
    'rfc5280::nc::nc-permits-invalid-dns-san',
  ],
  'constraints that constrain nothing, or stand where nothing is signed': [
    'rfc5280::nc::not-allowed-in-ee-critical',
    'rfc5280::nc::not-allowed-in-ee-noncritical',
    'webpki::nc::intermediate-permitted-excluded-subtrees-both-empty-sequences',
    'webpki::nc::intermediate-permitted-excluded-subtrees-both-null',
  ],
  'a root is trusted because it was given, whatever it says of itself': [
    'rfc5280::root-missing-basic-constraints',
    'rfc5280::root-non-critical-basic-constraints',
    'rfc5280::ski::root-missing-ski',
    'webpki::aki::root-with-aki-missing-keyidentifier',
    'webpki::eku::root-has-eku',
  ],
  'OpenSSL takes keys of 80 bits of security at its level 1, and of 112 at level 2 (Node 24): outside the mesh they are the choice of whoever gave the root':
    [
      'webpki::forbidden-dsa-root',
      'webpki::forbidden-p192-root',
      'webpki::forbidden-rsa-key-not-divisible-by-8-in-leaf',
      'webpki::forbidden-rsa-not-divisible-by-8-in-root',
      'webpki::forbidden-weak-rsa-in-leaf',
      'webpki::forbidden-weak-rsa-key-in-root',
    ],
  'rules for the leaves of the web that change nothing of what is proved': [
    'rfc5280::leaf-ku-keycertsign',
    'webpki::ee-basicconstraints-ca',
    'webpki::eku::ee-anyeku',
    'webpki::eku::ee-critical-eku',
    'webpki::eku::ee-without-eku',
  ],
  'identifiers of keys only help to find an issuer; the signature decides': [
    'rfc5280::aki::intermediate-missing-aki',
    'rfc5280::aki::leaf-missing-aki',
    'rfc5280::ski::intermediate-missing-ski',
  ],
  'a duty of authorities that changes nothing of what is proved': [
    'rfc5280::nc::permitted-dns-match-noncritical',
    'rfc5280::pc::ica-noncritical-pc',
    'rfc5280::san::noncritical-with-empty-subject',
    'rfc5280::serial::too-long',
    'rfc5280::serial::zero',
    'webpki::malformed-aia',
    'webpki::san::san-critical-with-nonempty-subject',
  ],
  'the common name is not looked at, so it may say anything': [
    'webpki::cn::case-mismatch',
    'webpki::cn::ipv4-hex-mismatch',
    'webpki::cn::ipv4-leading-zeros-mismatch',
    'webpki::cn::ipv6-non-rfc5952-mismatch',
    'webpki::cn::ipv6-uncompressed-mismatch',
    'webpki::cn::ipv6-uppercase-mismatch',
    'webpki::cn::not-in-san',
    'webpki::cn::punycode-not-in-san',
    'webpki::cn::utf8-vs-punycode-mismatch',
  ],
  'which names an authority may give is its policy; the host is one that the certificate names': [
    'rfc5280::san::underscore-dns',
    'webpki::san::public-suffix-multi-label-wildcard-san',
    'webpki::san::public-suffix-private-namespace-wildcard-san',
    'webpki::san::wildcard-embedded-leftmost-san',
  ],
};

/** Good cases that it refuses, by reason. */
export const strictOrigination: Readonly<Record<string, readonly string[]>> = {
  'OpenSSL follows one way from the leaf to a root and does not turn back from one that ends or forbids': [
    'cve::cve-2024-0567',
    'rfc5280::nc::nc-forbids-alternate-chain-ica',
    'rfc5280::nc::nc-forbids-same-chain-ica',
    'pathbuilding 2',
    'pathbuilding 23',
    'pathbuilding 31',
    'pathbuilding 32',
    'pathbuilding 33',
    'pathbuilding 34',
    'pathbuilding 35',
    'pathbuilding 49',
    'pathbuilding 50',
    'pathbuilding 51',
    'pathbuilding 52',
    'pathbuilding 53',
    'pathbuilding 54',
    'pathbuilding 55',
    'pathbuilding 56',
    'pathbuilding 57',
    'pathbuilding 58',
    'pathbuilding 59',
    'pathbuilding 60',
    'pathbuilding 61',
    'pathbuilding 62',
    'pathbuilding 64',
    'pathbuilding 65',
    'pathbuilding 66',
    'pathbuilding 67',
    'pathbuilding 68',
  ],
  'the certificate of an authority is no server’s': ['pathlen::validation-ignores-pathlen-in-leaf', 'rfc5280::ca-as-leaf'],
  'a trusted certificate has to be a root, signed by itself': ['rfc5280::root-and-intermediate-swapped'],
  'Node 22 compares IPv6 addresses of certificates as texts': ['rfc5280::nc::permitted-ipv6-match'],
  'OpenSSL compares constraints on DNS names with the common name too where a certificate has none': [
    'nameconstraints 7416',
    'nameconstraints 7440',
  ],
};

/** The Node lines on which an exception occurs, where it does not on all. */
export const onlyOnNode: Readonly<Record<string, readonly number[]>> = {
  'webpki::forbidden-p192-root': [20, 22],
  'webpki::forbidden-weak-rsa-in-leaf': [20, 22],
  'webpki::forbidden-weak-rsa-key-in-root': [20, 22],
  'webpki::cn::ipv6-non-rfc5952-mismatch': [20, 24],
  'webpki::cn::ipv6-uncompressed-mismatch': [20, 24],
  'webpki::cn::ipv6-uppercase-mismatch': [20, 24],
  'rfc5280::nc::permitted-ipv6-match': [22],
};
