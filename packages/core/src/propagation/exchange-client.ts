import { createPrivateKey, webcrypto, type KeyObject } from 'node:crypto';
import {
  ClientSecretBasic,
  ClientSecretPost,
  modifyAssertion,
  PrivateKeyJwt,
  TlsClientAuth,
  type ClientAuth,
} from 'oauth4webapi';
import { EnmeshError } from '../errors.js';
import type { MeshIdentity } from '../identity/source.js';
import { fileReason, readSmallFile } from '../x509/small-file.js';
import type { TokenPost } from './exchange-post.js';
import type { ClientAuthSpec } from './resource.js';

/** What client authentication is made of. */
export interface ClientProofSources {
  readonly identity?: MeshIdentity | undefined;
  /** `aud` of assertions. */
  readonly audience: string;
}

/** One proof of who asks: what goes into the request, and what is shown in the handshake. */
export interface ClientProof {
  readonly clientAuth: ClientAuth;
  readonly certificate?: NonNullable<TokenPost['certificate']>;
}

/** The assertion of a JWT-SVID (draft-ietf-oauth-spiffe-client-auth). */
const jwtSpiffe = 'urn:ietf:params:oauth:client-assertion-type:jwt-spiffe';

const settings = (reason: string): EnmeshError => new EnmeshError('ENMESH_PROPAGATION_EXCHANGE_SETTINGS', reason);

/**
 * Makes the proof of one token request: RFC 6749 section 2.3.1, RFC 7523, RFC 8705 with the SVID held now, or a JWT-SVID.
 * Rejects with `ENMESH_PROPAGATION_EXCHANGE_SETTINGS` where a file cannot be used or the platform gives no JWT-SVIDs, and with `ENMESH_IDENTITY_NONE`.
 */
export async function createClientProof(spec: ClientAuthSpec, sources: ClientProofSources): Promise<ClientProof> {
  switch (spec.method) {
    case 'client_secret_basic':
      return { clientAuth: ClientSecretBasic(await readSecret(spec.clientSecretFile)) };
    case 'client_secret_post':
      return { clientAuth: ClientSecretPost(await readSecret(spec.clientSecretFile)) };
    case 'private_key_jwt':
      return { clientAuth: await keyAssertion(spec, sources.audience) };
    case 'tls_client_auth': {
      if (sources.identity === undefined) throw settings('tls_client_auth needs the identity of the mesh');
      const { chain, privateKey } = sources.identity.svid.current();
      return { clientAuth: TlsClientAuth(), certificate: { chain, privateKey } };
    }
    case 'jwt_svid': {
      const assertion = await fetchSvid(sources);
      return {
        clientAuth: (_as, client, body) => {
          body.set('client_id', client.client_id);
          body.set('client_assertion_type', jwtSpiffe);
          body.set('client_assertion', assertion);
        },
      };
    }
    default:
      throw settings('clientAuth.method is none that is known');
  }
}

/** A JWT-SVID for the provider. Rejects with `ENMESH_PROPAGATION_EXCHANGE_SETTINGS`. */
export async function fetchSvid({ identity, audience }: ClientProofSources): Promise<string> {
  if (identity?.fetchJwtSvid === undefined)
    throw settings('the identity of this workload comes from where no JWT-SVIDs are given');
  try {
    return await identity.fetchJwtSvid(audience);
  } catch (error) {
    // By its code: the source may come with another copy of this package. What anybody else says may quote the token.
    const { code, message } = error as { readonly code?: unknown; readonly message?: unknown };
    const isOurs = typeof code === 'string' && code.startsWith('ENMESH_');
    throw settings(isOurs ? `no JWT-SVID: ${String(message)} (${code})` : 'the platform gave no JWT-SVID');
  }
}

const maxSecretBytes = 64 * 1024;

async function readSecret(path: string | undefined): Promise<string> {
  const secret = (await readText(path, 'clientSecretFile')).trim();
  if (secret === '') throw settings('clientSecretFile is empty');
  return secret;
}

async function readText(path: string | undefined, field: string): Promise<string> {
  if (path === undefined) throw settings(`clientAuth needs ${field}`);
  try {
    return (await readSmallFile(path, maxSecretBytes)).text;
  } catch (error) {
    throw settings(`${field} cannot be read (${fileReason(error)})`);
  }
}

async function keyAssertion(spec: ClientAuthSpec, audience: string): Promise<ClientAuth> {
  const key = await importKey(await readText(spec.privateKeyFile, 'privateKeyFile'));
  return PrivateKeyJwt(spec.keyId === undefined ? { key } : { key, kid: spec.keyId }, {
    [modifyAssertion]: (_header, payload) => void (payload['aud'] = audience),
  });
}

const curves: Readonly<Record<string, string>> = { prime256v1: 'P-256', secp384r1: 'P-384', secp521r1: 'P-521' };

async function importKey(pem: string): Promise<webcrypto.CryptoKey> {
  try {
    const key = createPrivateKey(pem);
    const octets = key.export({ type: 'pkcs8', format: 'der' });
    return await webcrypto.subtle.importKey('pkcs8', octets, algorithmOf(key), false, ['sign']);
  } catch {
    // OpenSSL's message may quote what it read.
    throw settings('privateKeyFile holds no private key that can sign an assertion');
  }
}

function algorithmOf(key: KeyObject): webcrypto.RsaHashedImportParams | webcrypto.EcKeyImportParams | 'Ed25519' {
  if (key.asymmetricKeyType === 'ed25519') return 'Ed25519';
  const { modulusLength = 0, namedCurve = '' } = key.asymmetricKeyDetails ?? {};
  const curve = curves[namedCurve];
  if (key.asymmetricKeyType === 'ec' && curve !== undefined) return { name: 'ECDSA', namedCurve: curve };
  if (key.asymmetricKeyType !== 'rsa' || modulusLength < 2048) throw new TypeError('weak or unknown');
  return { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' };
}
