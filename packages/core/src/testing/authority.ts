import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import type { MeshIdentity } from '../identity/source.js';
import { formatIstioId } from '../identity/spiffe-id.js';
import { fixedSvidSource, type X509Svid } from '../identity/svid.js';
import { parseTrustDomain } from '../identity/trust-domain.js';
import { fixedTrustBundleSource, type TrustBundleSet } from '../identity/trust-bundle.js';
import { issueCertificate, rootOptions, svidOptions, type IssueOptions } from '../x509/certificate.js';
import { readCertificateFacts } from '../x509/certificate-facts.js';
import { parsePem } from '../x509/pem.js';
import { parseX509Svid } from '../x509/svid-verify.js';

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;

/** Every way in which `issueBad` makes a certificate that must not be taken for a peer of the mesh. */
export const badCertificates = [
  'expired',
  'not-yet-valid',
  'foreign-trust-domain',
  'unknown-root',
  'stolen-trust-domain',
  'no-uri',
  'two-uris',
  'ca',
  'key-cert-sign',
  'no-digital-signature',
  'client-auth-only',
  'dns-only',
  'malformed-id',
  'no-path',
  'self-signed',
] as const;

/** A name of {@link badCertificates}. `stolen-trust-domain` is signed by this authority and names a workload of another trust domain. */
export type BadCertificate = (typeof badCertificates)[number];

/** Whose certificate to issue; times are milliseconds since the epoch, by default from a minute ago for an hour. */
export interface TestIssueOptions {
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly notBefore?: number;
  readonly notAfter?: number;
}

/** A PEM chain and its key, not checked by anything. */
export interface TestCertificate {
  readonly chain: string;
  readonly privateKey: KeyObject;
}

/** A certificate authority of one trust domain that lives in memory. */
export interface TestAuthority {
  readonly trustDomain: string;
  readonly rootPem: string;
  /** This trust domain with its one root. */
  readonly bundles: TrustBundleSet;
  issue(options: TestIssueOptions): Promise<X509Svid>;
  /** A leaf whose one URI SAN is `uri`, SPIFFE ID or not, of any trust domain: otherwise as in a good SVID, and signed by this authority. */
  issueUri(uri: string): Promise<TestCertificate>;
  /** An SVID with this authority's bundles, ready for a server or client. */
  identity(options: TestIssueOptions): Promise<MeshIdentity>;
  issueBad(kind: BadCertificate, options?: Partial<TestIssueOptions>): Promise<TestCertificate>;
  /** A bad certificate dressed as an identity that shows it in handshakes, with this authority's bundles. */
  badIdentity(kind: BadCertificate, options?: Partial<TestIssueOptions>): Promise<MeshIdentity>;
}

/**
 * Creates a certificate authority for tests: ECDSA P-256, in memory, trust domain `cluster.local` by default.
 * Throws `ENMESH_IDENTITY_TRUST_DOMAIN_INVALID`.
 *
 * @example
 * const authority = await createTestAuthority();
 * const identity = await authority.identity({ namespace: 'shop', serviceAccount: 'gateway' });
 */
export async function createTestAuthority(options: { readonly trustDomain?: string } = {}): Promise<TestAuthority> {
  const trustDomain = parseTrustDomain(options.trustDomain ?? 'cluster.local');
  const signer = await createSigner(trustDomain);
  const bundles: TrustBundleSet = new Map([[trustDomain, { trustDomain, roots: [signer.issuer] }]]);
  const bundleSource = fixedTrustBundleSource(bundles);
  const issueBad: TestAuthority['issueBad'] = async (kind, partial = {}) => {
    const workload = { namespace: 'default', serviceAccount: 'default', ...partial };
    return issueFor(await badRecipes[kind]({ trustDomain, signer, workload }));
  };
  const issue: TestAuthority['issue'] = async (workload) => {
    const uri = formatIstioId({ trustDomain, namespace: workload.namespace, serviceAccount: workload.serviceAccount });
    return parseX509Svid(await issueFor({ ...validity(workload), ...signer, uriSans: [uri] }));
  };
  return {
    trustDomain,
    rootPem: signer.issuer,
    bundles,
    issue,
    issueUri: (uri) => issueFor({ ...validity({}), ...signer, uriSans: [uri] }),
    issueBad,
    identity: async (workload) => ({ svid: fixedSvidSource(await issue(workload)), bundles: bundleSource }),
    badIdentity: async (kind, partial) => ({
      svid: fixedSvidSource(disguise(await issueBad(kind, partial), trustDomain)),
      bundles: bundleSource,
    }),
  };
}

interface Signer {
  readonly issuer: string;
  readonly issuerKey: KeyObject;
}

interface BadRequest {
  readonly trustDomain: string;
  readonly signer: Signer;
  readonly workload: TestIssueOptions;
}

type Recipe = Partial<IssueOptions> & Pick<IssueOptions, 'notBefore' | 'notAfter'>;

async function createSigner(trustDomain: string): Promise<Signer> {
  const key = newKey();
  const issuer = await issueCertificate({
    ...rootOptions(trustDomain, key),
    notBefore: Date.now() - day,
    notAfter: Date.now() + 365 * day,
  });
  return { issuer, issuerKey: key };
}

/** Anything that the recipe does not say is as in a good SVID; without a signer the certificate signs itself. */
async function issueFor(recipe: Recipe): Promise<TestCertificate> {
  const key = newKey();
  const chain = await issueCertificate({ ...svidOptions('', key), issuerKey: key, ...recipe });
  return { chain, privateKey: key };
}

function newKey(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey;
}

function validity(workload: Partial<TestIssueOptions>): Pick<IssueOptions, 'notBefore' | 'notAfter'> {
  const notBefore = workload.notBefore ?? Date.now() - minute;
  return { notBefore, notAfter: workload.notAfter ?? Math.max(notBefore, Date.now()) + hour };
}

function idIn(request: BadRequest, trustDomain = request.trustDomain): string {
  const { namespace, serviceAccount } = request.workload;
  return formatIstioId({ trustDomain, namespace, serviceAccount });
}

type Make = (request: BadRequest) => Recipe | Promise<Recipe>;

/** A good SVID by this authority with something changed. */
function bent(change: (request: BadRequest) => Partial<IssueOptions>): Make {
  return (request) => ({ ...validity(request.workload), ...request.signer, uriSans: [idIn(request)], ...change(request) });
}

const badRecipes: Readonly<Record<BadCertificate, Make>> = {
  expired: bent(() => ({ notBefore: Date.now() - 2 * hour, notAfter: Date.now() - hour })),
  'not-yet-valid': bent(() => ({ notBefore: Date.now() + hour, notAfter: Date.now() + 2 * hour })),
  'foreign-trust-domain': async (request) => ({
    ...validity(request.workload),
    ...(await createSigner('foreign.example')),
    uriSans: [idIn(request, 'foreign.example')],
  }),
  'unknown-root': async (request) => ({
    ...validity(request.workload),
    ...(await createSigner(request.trustDomain)),
    uriSans: [idIn(request)],
  }),
  'stolen-trust-domain': bent((request) => ({ uriSans: [idIn(request, 'foreign.example')] })),
  'no-uri': bent(() => ({ uriSans: [] })),
  'two-uris': bent((request) => ({ uriSans: [idIn(request), `spiffe://${request.trustDomain}/ns/admin/sa/admin`] })),
  ca: bent(() => ({ isCa: true })),
  'key-cert-sign': bent(() => ({ keyUsage: ['digitalSignature', 'keyCertSign'] })),
  'no-digital-signature': bent(() => ({ keyUsage: ['keyEncipherment'] })),
  'client-auth-only': bent(() => ({ extendedKeyUsage: ['1.3.6.1.5.5.7.3.2'] })),
  'dns-only': bent(() => ({ uriSans: [], dnsSans: ['gateway.shop.svc.cluster.local'] })),
  'malformed-id': bent((request) => ({ uriSans: [`${idIn(request)}/../admin`] })),
  'no-path': bent((request) => ({ uriSans: [`spiffe://${request.trustDomain}`] })),
  'self-signed': (request) => ({
    ...validity(request.workload),
    uriSans: [idIn(request)],
    subject: { commonName: 'self-signed' },
  }),
};

function disguise(certificate: TestCertificate, trustDomain: string): X509Svid {
  const [leaf = Buffer.alloc(0)] = parsePem(certificate.chain, 'CERTIFICATE');
  const { notBefore, notAfter, serial } = readCertificateFacts(leaf);
  const uri = `spiffe://${trustDomain}/test/disguised`;
  return { ...certificate, id: { uri, trustDomain, path: '/test/disguised' }, notBefore, notAfter, serial };
}
