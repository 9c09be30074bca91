import { createHash, generateKeyPairSync, sign, verify } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  Metadata,
  Server,
  ServerCredentials,
  status,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceDefinition,
  type sendUnaryData,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { createTestAuthority, type TestAuthority } from '@enmesh/core/testing';

/** A message as it goes over the wire; a Buffer is sent as it is, whatever it is. */
export type X509Message =
  | Buffer
  | {
      readonly svids: readonly X509Entry[];
      readonly crl?: readonly Buffer[];
      readonly federated_bundles?: Readonly<Record<string, Buffer>>;
    };

/** One identity in a message. */
export interface X509Entry {
  readonly spiffe_id: string;
  readonly x509_svid: Buffer;
  readonly x509_svid_key: Buffer;
  readonly bundle: Buffer;
  readonly hint?: string;
}

/** How an identity is registered; it renews itself at half of `ttlMs` (by default an hour, so never in a test). */
export interface Registration {
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly hint?: string;
  readonly ttlMs?: number;
}

/** A Workload API that behaves as SPIRE's agent was measured to (integrations (a)). */
export interface FakeWorkloadApi {
  /** `unix:///...` or `tcp://127.0.0.1:port`. */
  readonly uri: string;
  readonly authority: TestAuthority;
  /** X.509 streams that are open now, and that were ever opened with the header. */
  readonly streams: number;
  readonly opened: number;
  /** Calls refused because the security header was not exactly as it must be. */
  readonly headerless: number;
  register(entry: Registration): Promise<string>;
  /** Takes an identity away; without any left every stream ends with PERMISSION_DENIED. */
  remove(uri: string): void;
  /** Issues a new SVID for one identity and sends the full state. */
  rotate(uri: string): Promise<void>;
  /** Adds a federated trust domain's certificates, or with undefined takes them out. */
  federate(trustDomain: string, bundle: TestAuthority | Buffer | undefined): void;
  /** Revocation lists in DER that go with every message from now on. */
  revoke(...lists: readonly Buffer[]): void;
  /** The message as it would be sent now. */
  message(): Exclude<X509Message, Buffer>;
  /** Sends this to every open stream, and to those opened later, in place of the state; undefined ends that. */
  override(message: X509Message | undefined): void;
  /** Takes calls and answers none; or answers every stream with this status. */
  misbehave(how: 'silent' | { readonly code: number } | undefined): void;
  /** Ends every stream well, or with a status. */
  endStreams(code?: number): void;
  /** Stops listening, as a killed agent does, until `start`. */
  kill(): void;
  start(): Promise<void>;
  /** A new key for JWT-SVIDs; the old one stays in the bundle only with `keep`. */
  rotateJwtKey(keep?: boolean): void;
  /** A token of an identity that is registered, with claims changed. */
  token(uri: string, audience: readonly string[], change?: { readonly header?: object; readonly claims?: object }): string;
  stop(): Promise<void>;
}

const definition = loadSync(join(import.meta.dirname, 'workload-api.proto'), {
  keepCase: true,
  defaults: true,
  arrays: true,
  objects: true,
});

/** The service, with raw bytes let through where a message belongs. */
const service = ((): ServiceDefinition => {
  const original = definition['SpiffeWorkloadAPI'] as ServiceDefinition;
  const fetch = original['FetchX509SVID']!;
  const responseSerialize = (value: unknown): Buffer =>
    Buffer.isBuffer(value) ? value : (fetch.responseSerialize as (value: unknown) => Buffer)(value);
  return { ...original, FetchX509SVID: { ...fetch, responseSerialize } } as ServiceDefinition;
})();

interface Entry {
  readonly registration: Registration;
  wire: X509Entry;
  stop: () => void;
}

type X509Stream = ServerWritableStream<object, X509Message>;
type BundleStream = ServerWritableStream<object, { readonly bundles: Readonly<Record<string, Buffer>> }>;

/** The concatenated DER of a PEM text. */
export function derOf(pem: string): Buffer {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return Buffer.concat(blocks.map((block) => Buffer.from(block.replace(/-----[A-Z ]+-----|\s/g, ''), 'base64')));
}

/** Starts one on a socket in a directory of its own, or with `tcp` on a port of 127.0.0.1. It knows no identity yet. */
export async function createFakeWorkloadApi(
  options: { readonly trustDomain?: string; readonly tcp?: boolean } = {},
): Promise<FakeWorkloadApi> {
  const fake = new Fake(await createTestAuthority({ trustDomain: options.trustDomain ?? 'td.test' }), options.tcp === true);
  await fake.start();
  return fake;
}

class Fake implements FakeWorkloadApi {
  readonly authority: TestAuthority;
  uri = '';
  opened = 0;
  headerless = 0;
  readonly #directory = mkdtempSync(join(tmpdir(), 'wlapi-'));
  readonly #tcp: boolean;
  readonly #entries = new Map<string, Entry>();
  readonly #streams = new Set<X509Stream>();
  readonly #bundleStreams = new Set<BundleStream>();
  readonly #federated = new Map<string, Buffer>();
  readonly #jwtKeys: { readonly kid: string; readonly pair: ReturnType<typeof newKey> }[] = [];
  #server: Server | undefined;
  #crls: readonly Buffer[] = [];
  #override: X509Message | undefined;
  #misbehaviour: 'silent' | { readonly code: number } | undefined;

  constructor(authority: TestAuthority, tcp: boolean) {
    this.authority = authority;
    this.#tcp = tcp;
    this.rotateJwtKey();
  }

  get streams(): number {
    return this.#streams.size;
  }

  async start(): Promise<void> {
    const server = new Server();
    server.addService(service, {
      FetchX509SVID: (call: X509Stream) => this.#fetchX509(call),
      FetchJWTBundles: (call: BundleStream) => this.#fetchBundles(call),
      FetchJWTSVID: (call: ServerUnaryCall<{ audience: string[]; spiffe_id: string }, object>, answer: sendUnaryData<object>) =>
        this.#fetchJwt(call, answer),
      ValidateJWTSVID: (call: ServerUnaryCall<{ audience: string; svid: string }, object>, answer: sendUnaryData<object>) =>
        this.#validateJwt(call, answer),
    });
    const socket = join(this.#directory, 'agent.sock');
    // A killed agent leaves its socket behind and removes it when it starts again.
    rmSync(socket, { force: true });
    const wanted = this.#tcp ? `127.0.0.1:${this.uri === '' ? 0 : this.uri.split(':').at(-1)}` : `unix:${socket}`;
    const port = await new Promise<number>((done, fail) =>
      server.bindAsync(wanted, ServerCredentials.createInsecure(), (error, bound) => (error ? fail(error) : done(bound))),
    );
    this.#server = server;
    this.uri = this.#tcp ? `tcp://127.0.0.1:${port}` : `unix://${socket}`;
  }

  kill(): void {
    this.#server?.forceShutdown();
    this.#server = undefined;
    this.#streams.clear();
    this.#bundleStreams.clear();
  }

  async stop(): Promise<void> {
    for (const { stop } of this.#entries.values()) stop();
    this.kill();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  async register(registration: Registration): Promise<string> {
    const wire = await this.#issue(registration);
    this.#entries.set(wire.spiffe_id, { registration, wire, stop: () => {} });
    this.#schedule(wire.spiffe_id);
    this.#send();
    return wire.spiffe_id;
  }

  remove(uri: string): void {
    this.#entries.get(uri)?.stop();
    this.#entries.delete(uri);
    if (this.#entries.size === 0) this.endStreams(status.PERMISSION_DENIED);
    else this.#send();
  }

  async rotate(uri: string): Promise<void> {
    const entry = this.#entries.get(uri);
    if (entry === undefined) throw new Error(`${uri} is not registered`);
    entry.wire = await this.#issue(entry.registration);
    this.#schedule(uri);
    this.#send();
  }

  federate(trustDomain: string, bundle: TestAuthority | Buffer | undefined): void {
    const id = `spiffe://${trustDomain}`;
    if (bundle === undefined) this.#federated.delete(id);
    else this.#federated.set(id, Buffer.isBuffer(bundle) ? bundle : derOf(bundle.rootPem));
    this.#send();
  }

  revoke(...lists: readonly Buffer[]): void {
    this.#crls = lists;
    this.#send();
  }

  message(): Exclude<X509Message, Buffer> {
    return {
      svids: [...this.#entries.values()].map(({ wire }) => wire),
      crl: this.#crls,
      federated_bundles: Object.fromEntries(this.#federated),
    };
  }

  override(message: X509Message | undefined): void {
    this.#override = message;
    this.#send();
  }

  misbehave(how: 'silent' | { readonly code: number } | undefined): void {
    this.#misbehaviour = how;
  }

  endStreams(code?: number): void {
    const streams = [...this.#streams];
    this.#streams.clear();
    for (const stream of streams) {
      if (code === undefined) stream.end();
      else
        stream.emit('error', { code, details: code === status.PERMISSION_DENIED ? 'no identity issued' : 'ended by the test' });
    }
  }

  rotateJwtKey(keep = false): void {
    if (!keep) this.#jwtKeys.length = 0;
    this.#jwtKeys.push({ kid: createHash('sha256').update(String(Math.random())).digest('hex').slice(0, 32), pair: newKey() });
    for (const stream of this.#bundleStreams) stream.write(this.#jwtBundles());
  }

  token(uri: string, audience: readonly string[], change: { readonly header?: object; readonly claims?: object } = {}): string {
    const { kid, pair } = this.#jwtKeys.at(-1)!;
    const now = Math.floor(Date.now() / 1000);
    const header = { alg: 'ES256', kid, typ: 'JWT', ...change.header };
    const claims = { aud: audience, exp: now + 300, iat: now, sub: uri, ...change.claims };
    const input = [header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');
    const signature = sign('sha256', Buffer.from(input), { key: pair.privateKey, dsaEncoding: 'ieee-p1363' });
    return `${input}.${signature.toString('base64url')}`;
  }

  async #issue({ namespace, serviceAccount, hint = '', ttlMs = 3_600_000 }: Registration): Promise<X509Entry> {
    const now = Date.now();
    const svid = await this.authority.issue({ namespace, serviceAccount, notBefore: now - 10_000, notAfter: now + ttlMs });
    return {
      spiffe_id: svid.id.uri,
      x509_svid: derOf(svid.chain),
      x509_svid_key: svid.privateKey.export({ type: 'pkcs8', format: 'der' }),
      bundle: derOf(this.authority.rootPem),
      hint,
    };
  }

  /** Each identity renews on its own, with jitter, well before half of its life. */
  #schedule(uri: string): void {
    const entry = this.#entries.get(uri);
    if (entry === undefined) return;
    entry.stop();
    const { ttlMs = 3_600_000 } = entry.registration;
    const timer = setTimeout(() => void this.rotate(uri).catch(() => {}), ttlMs * (0.3 + 0.1 * Math.random()));
    timer.unref();
    entry.stop = () => clearTimeout(timer);
  }

  #send(): void {
    const message = this.#override ?? this.message();
    if (!Buffer.isBuffer(message) && message.svids.length === 0 && this.#override === undefined) return;
    for (const stream of this.#streams) stream.write(message);
  }

  #hasHeader(metadata: Metadata): boolean {
    const isRight = metadata.get('workload.spiffe.io').join() === 'true';
    if (!isRight) this.headerless += 1;
    return isRight;
  }

  #fetchX509(call: X509Stream): void {
    if (!this.#hasHeader(call.metadata)) return void call.emit('error', headerMissing);
    this.opened += 1;
    if (this.#misbehaviour === 'silent') return;
    if (this.#misbehaviour !== undefined)
      return void call.emit('error', { code: this.#misbehaviour.code, details: 'as the test wants it' });
    if (this.#entries.size === 0 && this.#override === undefined) return void call.emit('error', noIdentity);
    this.#streams.add(call);
    call.once('cancelled', () => void this.#streams.delete(call));
    call.write(this.#override ?? this.message());
  }

  #fetchBundles(call: BundleStream): void {
    if (!this.#hasHeader(call.metadata)) return void call.emit('error', headerMissing);
    this.#bundleStreams.add(call);
    call.once('cancelled', () => void this.#bundleStreams.delete(call));
    call.write(this.#jwtBundles());
  }

  #jwtBundles(): { readonly bundles: Readonly<Record<string, Buffer>> } {
    // Neither alg nor use, as SPIRE's; a federated domain without keys of this kind has an empty set.
    const keys = this.#jwtKeys.map(({ kid, pair }) => ({ kid, ...pair.publicKey.export({ format: 'jwk' }) }));
    const own = [`spiffe://${this.authority.trustDomain}`, Buffer.from(JSON.stringify({ keys }))] as const;
    const federated = [...this.#federated.keys()].map((id) => [id, Buffer.from('{"keys": []}')] as const);
    return { bundles: Object.fromEntries([own, ...federated]) };
  }

  #fetchJwt(call: ServerUnaryCall<{ audience: string[]; spiffe_id: string }, object>, answer: sendUnaryData<object>): void {
    const { audience, spiffe_id: id } = call.request;
    if (!this.#hasHeader(call.metadata)) return answer(headerMissing);
    if (this.#misbehaviour === 'silent') return;
    if (audience.length === 0) return answer({ code: status.INVALID_ARGUMENT, details: 'audience must be specified' });
    if (id !== '' && !id.startsWith('spiffe://'))
      return answer({ code: status.INVALID_ARGUMENT, details: 'invalid requested SPIFFE ID' });
    const entries = [...this.#entries].filter(([uri]) => id === '' || uri === id);
    if (entries.length === 0) return answer(noIdentity);
    const svids = entries.map(([uri, { wire }]) => ({ spiffe_id: uri, svid: this.token(uri, audience), hint: wire.hint ?? '' }));
    answer(null, { svids });
  }

  #validateJwt(call: ServerUnaryCall<{ audience: string; svid: string }, object>, answer: sendUnaryData<object>): void {
    if (!this.#hasHeader(call.metadata)) return answer(headerMissing);
    const { audience, svid } = call.request;
    const [header = '', payload = '', signature = ''] = svid.split('.');
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as { aud: string[]; sub: string };
    const isSigned = this.#jwtKeys.some(({ pair }) =>
      verify(
        'sha256',
        Buffer.from(`${header}.${payload}`),
        { key: pair.publicKey, dsaEncoding: 'ieee-p1363' },
        Buffer.from(signature, 'base64url'),
      ),
    );
    if (!isSigned || !claims.aud.includes(audience))
      return answer({ code: status.INVALID_ARGUMENT, details: `the agent quotes the token: ${svid}` });
    answer(null, { spiffe_id: claims.sub, claims: structOf(claims) });
  }
}

const headerMissing = { code: status.INVALID_ARGUMENT, details: 'security header missing from request' };
const noIdentity = { code: status.PERMISSION_DENIED, details: 'no identity issued' };

function newKey() {
  return generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
}

function structOf(object: object): object {
  return { fields: Object.fromEntries(Object.entries(object).map(([name, value]) => [name, valueOf(value)])) };
}

function valueOf(value: unknown): object {
  if (value === null) return { nullValue: 0, null_value: 0 };
  if (typeof value === 'string') return { stringValue: value };
  if (typeof value === 'number') return { numberValue: value };
  if (typeof value === 'boolean') return { boolValue: value };
  if (Array.isArray(value)) return { listValue: { values: value.map(valueOf) } };
  return { structValue: structOf(value as object) };
}
