import type { EnmeshError } from '../errors.js';
import type { X509Svid } from '../identity/svid.js';
import { guardedBodyBytes, type CallGuard } from '../propagation/egress-guard.js';
import { noteCall } from './audit.js';
import { contextOfNow } from './call-context.js';
import { isIdentityHeader } from './call-headers.js';
import { carriedHeader } from './call-tokens.js';
import { isHeard, linesFor } from './carry.js';
import type { GrpcModule } from './grpc-credentials.js';
import { checked, type CallChecks } from './guard-call.js';
import type { OutboundOptions } from './options.js';
import type { CallPlan, RefusedPlan } from './plan.js';
import { reportCall } from './report.js';

/** What is used of grpc-js' metadata. */
export interface GrpcMetadata {
  clone(): GrpcMetadata;
  set(name: string, value: string): void;
  remove(name: string): void;
  getMap(): Readonly<Record<string, unknown>>;
  /** Every value, those of `-bin` in base64. */
  toHttp2Headers(): Readonly<Record<string, unknown>>;
}

/** Metadata that is made for each attempt at a call, on the connection that it goes out on. */
export interface GrpcCallCredentials {
  generateMetadata(options: object): Promise<GrpcMetadata>;
}

/** What is used of a call of grpc-js, below its interceptors. */
export interface GrpcCall {
  start(metadata: GrpcMetadata, listener: { onReceiveStatus(status: object): void }): void;
  setCredentials(credentials: GrpcCallCredentials): void;
  sendMessageWithContext(context: object, message: Buffer): void;
  cancelWithStatus(status: number, details: string): void;
}

/** By what plan a call goes, and by what SVID its connections prove themselves. */
export interface CarriedCall {
  readonly grpc: GrpcModule;
  readonly options: OutboundOptions;
  readonly plan: Exclude<CallPlan, RefusedPlan>;
  readonly svid: X509Svid | undefined;
  /** `http://host:port`, for events. */
  readonly origin: string;
  /** `/package.Service/Method`. */
  readonly path: string;
}

/** Status of gRPC by its number. */
const UNAVAILABLE = 14;

/**
 * Has a call of grpc-js carry what its TokenPropagation says of the user whose request is being handled now, and looks for the user's own token in its metadata (and the
 * start of its messages, with `guardBodies`). A token is got for each attempt at the call, when a connection of `svid` stands for it: one that waited, or that grpc-js
 * repeats, goes out with a token of its own. A call that is not made ends with UNAVAILABLE and our code in its details.
 */
export function carryGrpc(carried: CarriedCall, call: GrpcCall): void {
  const { grpc, plan } = carried;
  const { carries } = plan;
  // A connection is found later, in whatever context that happens.
  const inContext = contextOfNow();
  const start = call.start.bind(call);
  const setCredentials = call.setCredentials.bind(call);
  let given: GrpcCallCredentials | undefined;
  call.setCredentials = (credentials) => void (given = credentials);
  const generate = async (asked: object): Promise<GrpcMetadata> => {
    const all = (await given?.generateMetadata(asked)) ?? (new grpc.Metadata() as GrpcMetadata);
    const { sent, passing } = inContext(() => shapeMetadata(carried, call, all));
    // It stands in the metadata that the call began with, and these are added to it.
    if (passing !== undefined) sent.remove(passing[0]);
    if (carries === undefined) return sent;
    const { options, svid, origin } = carried;
    const lines = await inContext(() => linesFor({ tokens: options.tokens, plan, svid, origin, subject: call }));
    for (const line of lines) sent.set(...line);
    return sent;
  };
  call.start = (metadata, listener) => {
    try {
      const { guard, sent } = inContext(() => {
        const { options, path } = carried;
        noteCall(options, call, { method: 'POST', path, headers: () => metadata.getMap() });
        return shapeMetadata(carried, call, metadata.clone());
      });
      if (guard?.checkBody !== undefined) guardMessages(call, guard.checkBody);
      if (carries === undefined && isHeard()) reportCall(plan, carried.origin, call);
      if (carries !== undefined || given !== undefined) setCredentials(credentialsOf(grpc, generate, call));
      start(sent, listener);
    } catch (error) {
      const details = detailsOf(error);
      if (details === undefined) throw error;
      call.cancelWithStatus(UNAVAILABLE, details);
      const status = { code: UNAVAILABLE, details, metadata: new grpc.Metadata() };
      process.nextTick(() => listener.onReceiveStatus(status));
    }
  };
}

/** Metadata as it may go: without what the mesh itself gives, and what the egress guard takes out; with the transaction token that passes on. */
function shapeMetadata({ options, plan, origin }: CarriedCall, call: GrpcCall, metadata: GrpcMetadata): Shaped {
  const { carries } = plan;
  const hasUser = carries !== undefined && options.tokens?.context()?.user !== undefined;
  const own = hasUser ? carriedHeader(carries.entry) : undefined;
  for (const name of Object.keys(metadata.getMap()))
    if (name === own || (plan.strips && isIdentityHeader(name))) metadata.remove(name);
  const apply = ({ guard, passing }: CallChecks): Shaped => {
    // The application's own copy of it gives way to ours.
    if (passing !== undefined) metadata.remove(passing[0]);
    if (guard !== undefined) guardMetadata(guard, metadata);
    if (passing !== undefined) metadata.set(...passing);
    return { guard, passing, sent: metadata };
  };
  const nothing = { guard: undefined, passing: undefined, sent: metadata };
  return checked<Shaped>({ options, plan, origin, subject: call }, apply, nothing);
}

interface Shaped extends CallChecks {
  readonly sent: GrpcMetadata;
}

function guardMetadata(guard: CallGuard, metadata: GrpcMetadata): void {
  const found = guard.inspect({ path: '/', headers: Object.entries(metadata.toHttp2Headers()) });
  if (found === undefined) return;
  for (const name of found.without) metadata.remove(name);
  if (found.cookie !== undefined) metadata.set('cookie', found.cookie);
}

function guardMessages(call: GrpcCall, check: (start: Uint8Array) => void): void {
  const send = call.sendMessageWithContext.bind(call);
  let left = guardedBodyBytes;
  call.sendMessageWithContext = (context, message) => {
    try {
      if (left > 0) check(message.subarray(0, left));
      left -= message.length;
    } catch (error) {
      return call.cancelWithStatus(UNAVAILABLE, detailsOf(error) ?? 'a message could not be looked at');
    }
    send(context, message);
  };
}

/** Of ours, by their code, for the guard may be made of another copy of this package; undefined for anything else. */
function detailsOf(error: unknown): string | undefined {
  const { code, message } = error as Partial<EnmeshError>;
  return String(code).startsWith('ENMESH_') ? `${code}: ${message}` : undefined;
}

function credentialsOf(
  grpc: GrpcModule,
  generate: (asked: object) => Promise<GrpcMetadata>,
  call: GrpcCall,
): GrpcCallCredentials {
  return grpc.CallCredentials.createFromMetadataGenerator((asked, done) => {
    generate(asked).then(
      (metadata) => done(null, metadata as never),
      (error: Error) => {
        const details = detailsOf(error);
        // grpc-js would put words of its own before ours.
        if (details !== undefined) call.cancelWithStatus(UNAVAILABLE, details);
        done(error);
      },
    );
  }) as GrpcCallCredentials;
}
