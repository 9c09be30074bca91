// The entry `@enmesh/core/x509`: certificates and requests for them, for packages that get or give identities.
export { isStrongKey } from './strength.js';
export { issueCertificate, rootOptions, svidOptions, type IssueOptions } from './certificate.js';
export { readCertificateFacts, type CertificateFacts } from './certificate-facts.js';
export { parseCsr, type CertificateRequest } from './csr-read.js';
export { parseCrl, type RevocationList } from './crl.js';
export { splitDer } from './der.js';
export { createCsr, type CsrOptions } from './csr.js';
export { formatPem, parsePem } from './pem.js';
export { parseX509Svid, readPrivateKey, verifySvidChain, verifySvidLeaf } from './svid-verify.js';
