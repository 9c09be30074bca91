import { constants, generateKeyPairSync, randomBytes } from 'node:crypto';
import type { SecureContextOptions } from 'node:tls';
import { issueCertificate, svidOptions } from '@enmesh/core/x509';
import type { AuthorityKeys } from './authority.js';

/** What the authority's own port is served with, and until when that is good. */
export interface ServingContext {
  readonly options: SecureContextOptions;
  /** When to make the next, in milliseconds since the epoch. */
  readonly renewAt: number;
}

const life = 86_400_000;
const backdatedMs = 120_000;

const ciphers = [
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
];

/**
 * Makes a serving certificate with a key of its own: the DNS names, for one day at most, no SPIFFE ID, so that it is nobody's identity. Client
 * certificates are asked for and checked against all trusted roots; sessions are never resumed, because a resumed one skips that.
 */
export async function createServingContext(keys: AuthorityKeys, names: readonly string[], now: number): Promise<ServingContext> {
  const { serving } = keys;
  const key = generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey;
  const notAfter = Math.min(now + life, serving.notAfter);
  const { keyUsage } = svidOptions('', key);
  const leaf = await issueCertificate({
    key,
    issuer: serving.certificate,
    issuerKey: serving.key,
    dnsSans: names,
    isCa: false,
    keyUsage,
    extendedKeyUsage: [serverAuth],
    notBefore: now - backdatedMs,
    notAfter,
  });
  const options: SecureContextOptions = {
    key: key.export({ type: 'pkcs8', format: 'pem' }),
    cert: [leaf, ...serving.intermediates].join(''),
    // The intermediates too: a client that sends its leaf alone is then understood.
    ca: [...keys.roots, ...keys.intermediates],
    minVersion: 'TLSv1.2',
    ciphers: [...tls13, ...ciphers].join(':'),
    honorCipherOrder: true,
    secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
    sessionIdContext: randomBytes(16).toString('hex'),
  };
  return { options, renewAt: now + (notAfter - now) / 2 };
}

const serverAuth = '1.3.6.1.5.5.7.3.1';
const tls13 = ['TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256', 'TLS_AES_128_GCM_SHA256'];
