import { Client, credentials, Metadata, status, type ChannelOptions } from '@grpc/grpc-js';
import { EnmeshError } from '@enmesh/core/issuance';
import type { WorkloadEndpoint } from './endpoint.js';
import { workloadService } from './messages.js';
import type { MessageStream, StreamEnd } from './stream.js';

/** Largest message that is taken, in octets: gRPC's own default, said aloud. */
const maxMessageBytes = 4 * 1024 * 1024;

const channelOptions: ChannelOptions = {
  // An agent is on this machine: neither a proxy nor a DNS record has a say in how it is reached.
  'grpc.enable_http_proxy': 0,
  'grpc.service_config_disable_resolution': 1,
  'grpc.enable_retries': 0,
  'grpc.use_local_subchannel_pool': 1,
  'grpc.max_receive_message_length': maxMessageBytes,
  // Below the pauses between our own tries, so that each of them really tries.
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 900,
};

type StreamMethod = 'FetchX509SVID' | 'FetchJWTBundles';
type UnaryMethod = 'FetchJWTSVID' | 'ValidateJWTSVID';

/** A connection to a Workload API; it is made when first used, and again when it broke. */
export interface WorkloadClient {
  stream<Message>(method: StreamMethod): MessageStream<Message>;
  /** Rejects with `ENMESH_ISSUANCE_WORKLOAD_API`. The message says nothing of what was sent. */
  call<Response>(method: UnaryMethod, request: object, timeoutMs: number): Promise<Response>;
  close(): void;
}

/** Creates a client of the Workload API there (integrations (a)): no TLS, the security header on every call, messages up to 4 MiB. */
export function createWorkloadClient(endpoint: WorkloadEndpoint): WorkloadClient {
  const client = new Client(endpoint.target, credentials.createInsecure(), channelOptions);
  return {
    stream<Message>(method: StreamMethod) {
      const { path, requestSerialize, responseDeserialize } = methodOf(method);
      const decode = responseDeserialize as (bytes: Buffer) => Message;
      return client.makeServerStreamRequest(path, requestSerialize, decode, {}, securityHeader());
    },
    call<Response>(method: UnaryMethod, request: object, timeoutMs: number) {
      const { path, requestSerialize, responseDeserialize } = methodOf(method);
      const decode = responseDeserialize as (bytes: Buffer) => Response;
      const deadline = Date.now() + timeoutMs;
      return new Promise<Response>((done, fail) => {
        client.makeUnaryRequest(path, requestSerialize, decode, request, securityHeader(), { deadline }, (error, response) => {
          if (error === null && response !== undefined) return done(response);
          const end = { code: error?.code ?? status.UNKNOWN, details: error?.details ?? '' };
          // What an agent says of a token may quote it.
          const reason = reasonOf(endpoint, method, {
            code: end.code,
            details: end.code === status.UNAVAILABLE ? end.details : '',
          });
          fail(new EnmeshError('ENMESH_ISSUANCE_WORKLOAD_API', reason, { details: { status: statusName(end.code) } }));
        });
      });
    },
    close: () => client.close(),
  };
}

/** What a status means and what to do about it, in one sentence that names the socket and where it was configured. */
export function reasonOf(endpoint: WorkloadEndpoint, method: string, end: Pick<StreamEnd, 'code' | 'details'>): string {
  const where = `The Workload API at ${endpoint.uri} (${endpoint.from})`;
  const said = end.details === '' ? '' : ` (${end.details.slice(0, 200)})`;
  switch (end.code) {
    case status.OK:
      return `${where} ended the stream ${method}`;
    case status.UNAVAILABLE:
      return `${where} cannot be reached: ${unreachable(endpoint, end.details)}`;
    case status.PERMISSION_DENIED:
      return `${where} gives this process no identity: register an entry whose selectors match it, or wait until the agent knows of it`;
    case status.INVALID_ARGUMENT:
      return `${where} refuses ${method}${said}: it will not be asked again`;
    case status.UNIMPLEMENTED:
      return `${where} does not know ${method}: see that this is the socket of a SPIFFE Workload API`;
    case status.RESOURCE_EXHAUSTED:
      return `${where} sent a message of more than ${maxMessageBytes / 1024 / 1024} MiB, or is asked too often`;
    case status.INTERNAL:
      return `${where} answered ${method} with what is no message of it, or failed`;
    default:
      return `${where} answered ${method} with ${statusName(end.code)}${said}`;
  }
}

const socketProblems: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such socket; see that the agent runs and that its directory is mounted here',
  ECONNREFUSED: 'nobody listens there; see that the agent runs',
  EACCES: 'this process may not open the socket; look at the rights of it and of its directories',
  ENOTSOCK: 'the file there is no socket',
};

function unreachable(endpoint: WorkloadEndpoint, details: string): string {
  const code = /\b(ENOENT|ECONNREFUSED|EACCES|ENOTSOCK)\b/.exec(details)?.[1];
  if (code !== undefined) return socketProblems[code] ?? code;
  return endpoint.path === undefined ? 'no connection to that address' : 'the connection broke; see that the agent runs';
}

/** The name of a gRPC status code: `PERMISSION_DENIED`. */
function statusName(code: number): string {
  return (status as unknown as Readonly<Record<number, string | undefined>>)[code] ?? `status ${code}`;
}

function methodOf(name: StreamMethod | UnaryMethod): NonNullable<(typeof workloadService)[string]> {
  const method = workloadService[name];
  if (method === undefined) throw new TypeError(`no method ${name}`);
  return method;
}

function securityHeader(): Metadata {
  const metadata = new Metadata();
  metadata.set('workload.spiffe.io', 'true');
  return metadata;
}
