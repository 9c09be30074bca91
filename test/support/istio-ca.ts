import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { issueCertificate, parseCsr, rootOptions, svidOptions } from '@enmesh/core/x509';
import { Server, ServerCredentials, type sendUnaryData, type ServerUnaryCall } from '@grpc/grpc-js';
import { certificateService, type CertificateRequest, type CertificateResponse } from '../../packages/istio/src/messages.js';

/** What one call of CreateCertificate carried. */
export interface SeenCall {
  readonly request: CertificateRequest;
  readonly authorization: string | undefined;
  readonly metadata: Readonly<Record<string, unknown>>;
  /** The serial number of the client's certificate in lower-case hexadecimal. */
  readonly clientSerial: string | undefined;
  /** Whether the client gave the call up. */
  readonly isCancelled: () => boolean;
}

/** Throw it, with a gRPC status, to refuse a call. */
export class CaRefusal extends Error {
  readonly code: number;
  constructor(code: number, details: string) {
    super(details);
    this.code = code;
  }
}

/** A certificate authority that keeps one root, and what it signs with it. */
export interface Signer {
  readonly rootPem: string;
  readonly key: KeyObject;
}

/** Answers a call with `cert_chain`, or refuses it. */
export type CaBehaviour = (call: SeenCall, ca: TestCa) => Promise<readonly string[]> | readonly string[];

/** A server of `istio.v1.auth.IstioCertificateService` over TLS on loopback, with the name of istiod in its certificate. */
export interface TestCa extends Signer {
  readonly port: number;
  readonly address: string;
  /** Root and token as they are mounted into a pod. */
  readonly rootFile: string;
  readonly tokenFile: string;
  readonly directory: string;
  readonly calls: SeenCall[];
  behave(behaviour: CaBehaviour): void;
  close(): Promise<void>;
}

export interface TestCaOptions {
  /** Whether connections have to show a certificate of the root, or may; default `none`. */
  readonly clientCertificate?: 'none' | 'optional' | 'required';
  readonly serverNames?: readonly string[];
  /** Serves nothing, as istiod's plaintext port does. */
  readonly withoutService?: boolean;
  readonly signer?: Signer;
}

const hour = 3_600_000;
export const newKey = (): KeyObject => generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey;

/** Makes a root of the trust domain. */
export async function createSigner(trustDomain = 'cluster.local'): Promise<Signer> {
  const key = newKey();
  const rootPem = await issueCertificate({
    ...rootOptions(trustDomain, key),
    notBefore: Date.now() - 24 * hour,
    notAfter: Date.now() + 24 * hour,
  });
  return { rootPem, key };
}

/** Signs the key of a request for a SPIFFE ID; times in milliseconds from now. */
export function signFor(
  signer: Signer,
  csr: string,
  { uri, from = -120_000, life = hour, key }: { uri?: string; from?: number; life?: number; key?: KeyObject } = {},
): Promise<string> {
  const { publicKey, uriSans } = parseCsr(csr);
  return issueCertificate({
    ...svidOptions(uri ?? uriSans[0] ?? '', key ?? publicKey),
    issuer: signer.rootPem,
    issuerKey: signer.key,
    notBefore: Date.now() + from,
    notAfter: Date.now() + life,
  });
}

/** What a good CA does: signs for the name in the request, for the life asked for, and sends its root twice, as istiod with plugged-in files. */
export const good: CaBehaviour = async ({ request }, ca) => {
  const life = request.validity_duration === 0 ? hour : request.validity_duration * 1000;
  return [await signFor(ca, request.csr, { life: Math.min(life, 20 * hour) }), ca.rootPem, ca.rootPem];
};

/** What `createSsl` cannot say: a client certificate that is asked for and not insisted on. */
class TlsCredentials extends ServerCredentials {
  override _equals(other: ServerCredentials): boolean {
    return this === other;
  }
}

/** Starts a CA that behaves well until it is told otherwise. */
export async function startTestCa(options: TestCaOptions = {}): Promise<TestCa> {
  const { serverNames = ['istiod.istio-system.svc'], clientCertificate = 'none' } = options;
  const signer = options.signer ?? (await createSigner());
  const directory = mkdtempSync(join(tmpdir(), 'enmesh-test-ca-'));
  const rootFile = join(directory, 'root-cert.pem');
  const tokenFile = join(directory, 'istio-token');
  writeFileSync(rootFile, signer.rootPem);
  writeFileSync(tokenFile, 'first.token.x\n');
  const server = new Server();
  let behaviour = good;
  const calls: SeenCall[] = [];
  if (options.withoutService !== true) {
    server.addService(certificateService, {
      CreateCertificate(
        call: ServerUnaryCall<CertificateRequest, CertificateResponse>,
        answer: sendUnaryData<CertificateResponse>,
      ) {
        const seen = seenOf(call);
        calls.push(seen);
        Promise.resolve()
          .then(() => behaviour(seen, ca))
          .then(
            (chain) => answer(null, { cert_chain: chain }),
            (error: CaRefusal) => answer({ code: error.code ?? 13, details: error.message }),
          );
      },
    });
  }
  const serverKey = newKey();
  const serverCert = await issueCertificate({
    key: serverKey,
    issuer: signer.rootPem,
    issuerKey: signer.key,
    dnsSans: serverNames,
    isCa: false,
    keyUsage: ['digitalSignature'],
    notBefore: Date.now() - hour,
    notAfter: Date.now() + hour,
  });
  const credentials = new TlsCredentials(
    { requestCert: clientCertificate !== 'none', rejectUnauthorized: clientCertificate === 'required' },
    { ca: signer.rootPem, cert: serverCert, key: serverKey.export({ type: 'pkcs8', format: 'pem' }) },
  );
  const port = await new Promise<number>((done, fail) =>
    server.bindAsync('127.0.0.1:0', credentials, (error, bound) => (error === null ? done(bound) : fail(error))),
  );
  const ca: TestCa = {
    ...signer,
    port,
    address: `127.0.0.1:${port}`,
    rootFile,
    tokenFile,
    directory,
    calls,
    behave: (next) => void (behaviour = next),
    async close() {
      server.forceShutdown();
      rmSync(directory, { recursive: true, force: true });
    },
  };
  return ca;
}

function seenOf(call: ServerUnaryCall<CertificateRequest, CertificateResponse>): SeenCall {
  const metadata = call.metadata.getMap();
  const certificate = call.getAuthContext().sslPeerCertificate;
  let isCancelled = false;
  call.on('cancelled', () => (isCancelled = true));
  return {
    request: call.request,
    authorization: metadata['authorization']?.toString(),
    metadata,
    clientSerial: certificate?.serialNumber?.toLowerCase(),
    isCancelled: () => isCancelled,
  };
}
