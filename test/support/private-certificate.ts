import { generateKeyPairSync } from 'node:crypto';
import { issueCertificate, rootOptions } from '@enmesh/core/x509';

/** A certificate for localhost by an authority that no system knows, all in PEM. */
export async function createPrivateCertificate(): Promise<{ ca: string; cert: string; key: string }> {
  const newKey = () => generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey;
  const [rootKey, key] = [newKey(), newKey()];
  const validity = { notBefore: Date.now() - 60_000, notAfter: Date.now() + 3_600_000 };
  const ca = await issueCertificate({ ...rootOptions('idp.example', rootKey), ...validity });
  const leaf = { key, issuer: ca, issuerKey: rootKey, isCa: false, keyUsage: ['digitalSignature'] as const };
  const cert = await issueCertificate({ ...leaf, dnsSans: ['localhost'], uriSans: [], ...validity } as never);
  return { ca, cert, key: key.export({ type: 'pkcs8', format: 'pem' }) as string };
}
