import { generateKeyPairSync } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fixedSvidSource, fixedTrustBundleSource, type MeshIdentity } from '@enmesh/core';
import { issueCertificate, parseX509Svid, rootOptions, svidOptions } from '@enmesh/core/x509';

/** Whose certificate; of namespace shop, for an hour, unless said otherwise. Times are milliseconds since the epoch. */
export interface IssueRequest {
  readonly serviceAccount: string;
  readonly dnsSans?: readonly string[];
  /** P-256 by default; `rsa` is 2048 bits, the default of Istio's agent. */
  readonly keyType?: 'rsa';
  readonly notBefore?: number;
  readonly notAfter?: number;
}

/** A certificate as programs want it: PEM texts. */
export interface Material {
  /** Leaf and, of an authority that is not flat, intermediate. */
  readonly chain: string;
  readonly leaf: string;
  readonly key: string;
}

/** An authority with an intermediate, as istiod has one with plugged-in certificates. It lives in memory. */
export interface ChainAuthority {
  readonly trustDomain: string;
  readonly rootPem: string;
  issue(request: IssueRequest): Promise<Material>;
  identity(request: IssueRequest, partners?: readonly ChainAuthority[]): Promise<MeshIdentity>;
}

const hour = 3_600_000;

/** Creates a root and an intermediate of a trust domain, `cluster.local` by default; a flat one signs with its root. */
export async function createChainAuthority(
  trustDomain = 'cluster.local',
  o: { readonly isFlat?: boolean } = {},
): Promise<ChainAuthority> {
  const newKey = () => generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey;
  const life = { notBefore: Date.now() - 24 * hour, notAfter: Date.now() + 24 * hour };
  const [rootKey, key] = [newKey(), newKey()];
  const rootPem = await issueCertificate({ ...rootOptions(trustDomain, rootKey), ...life });
  const signed = await issueCertificate({
    ...{ key, issuer: rootPem, issuerKey: rootKey, subject: { organization: trustDomain, commonName: 'intermediate' } },
    ...{ isCa: true, pathLength: 0, keyUsage: ['keyCertSign', 'cRLSign'], ...life },
  });
  const [issuer, issuerKey, above] = o.isFlat === true ? [rootPem, rootKey, ''] : [signed, key, signed];
  const issue: ChainAuthority['issue'] = async ({ serviceAccount, dnsSans = [], keyType, ...times }) => {
    const own = keyType === 'rsa' ? generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey : newKey();
    const leaf = await issueCertificate({
      ...svidOptions(`spiffe://${trustDomain}/ns/shop/sa/${serviceAccount}`, own),
      ...{ dnsSans, issuer, issuerKey },
      ...{ notBefore: Date.now() - hour / 60, notAfter: Date.now() + hour, ...times },
    });
    return { chain: leaf + above, leaf, key: own.export({ type: 'pkcs8', format: 'pem' }) as string };
  };
  return {
    trustDomain,
    rootPem,
    issue,
    async identity(request, partners = []) {
      const { chain, key: privateKey } = await issue(request);
      const bundles = [{ trustDomain, rootPem }, ...partners].map((one) => [
        one.trustDomain,
        { trustDomain: one.trustDomain, roots: [one.rootPem] },
      ]);
      return {
        svid: fixedSvidSource(parseX509Svid({ chain, privateKey })),
        bundles: fixedTrustBundleSource(new Map(bundles as never)),
      };
    },
  };
}

/** Paths of a certificate's files, under the names that cert-manager gives them, and one file with chain and key for programs that want that. */
export interface MaterialFiles {
  readonly cert: string;
  readonly key: string;
  readonly roots: string;
  readonly both: string;
}

/** Writes a certificate and the roots to trust into a directory of its own. */
export function writeMaterial(directory: string, { chain, key }: Material, rootPem: string): MaterialFiles {
  mkdirSync(directory, { recursive: true });
  const at = (name: string, text: string): string => {
    const path = join(directory, name);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  };
  return { cert: at('tls.crt', chain), key: at('tls.key', key), roots: at('ca.crt', rootPem), both: at('both.pem', chain + key) };
}
