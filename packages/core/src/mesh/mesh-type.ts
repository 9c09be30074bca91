import type { Agent, IncomingMessage, Server as HttpServer, ServerResponse } from 'node:http';
import type { Server } from 'node:https';
import type { Dispatcher } from 'undici';
import type { Workload } from '../identity/workload.js';
import type { DoorOptions } from '../inbound/door.js';
import type { RequestEnmesh } from '../inbound/inbound.js';
import type { MeshClients } from '../outbound/clients.js';
import type { Decision } from '../policy/evaluate.js';
import type { RequestContext } from '../propagation/context.js';
import type { RequestAttributes } from '../request/attributes.js';

/** The workload this process is, with its SPIFFE ID in the mesh's trust domain. */
export interface MeshWorkload extends Workload {
  readonly spiffeId: string;
}

/** Options of one server of the mesh. */
export interface ServerOptions extends DoorOptions {
  /** Opens a second, plain listener beside the server that answers only `/livez` and `/readyz`; 0 is a free port (`server.probe`). */
  readonly probePort?: number;
}

/** A server at whose door every request is decided; `probe` is its health listener where one was asked for. */
export type MeshServer = Server & { readonly probe?: HttpServer };

/** A request that has passed the door, as a listener without a framework gets it. */
export interface MeshRequest extends IncomingMessage {
  /** The verified peer and user of this request, and the decision that let it pass. */
  readonly enmesh: RequestEnmesh;
}

/** What `createServer` calls for each request that may pass: a function of your own, an application, or any listener of node:http. */
export type MeshListener = (request: MeshRequest, response: ServerResponse & { req: IncomingMessage }) => unknown;

/** The security half of a service mesh for one workload; made by `createMesh`. */
export interface Mesh {
  readonly workload: MeshWorkload;
  /** A node:https server that obeys PeerAuthentication for its port and enforces the policies before the listener sees a request. */
  createServer(listener: MeshListener, options?: ServerOptions): MeshServer;
  /**
   * Drop-in `fetch`: plain `http://` URLs of the mesh's services go out by mutual TLS where the mesh says so. `retry: {attempts}` tries an idempotent call
   * again whose connection broke.
   */
  readonly fetch: MeshClients['fetch'];
  /** undici's `request`, about four times quicker than `fetch`; with the same `retry`. */
  readonly request: MeshClients['request'];
  /** For undici and the global fetch: `fetch(url, {dispatcher: mesh.dispatcher})`. */
  readonly dispatcher: Dispatcher;
  /** For node:http clients (`http.get`, axios' httpAgent, got's agent.http, ws, http-proxy). */
  readonly agent: Agent;
  /** Decides from values alone; what the door uses. */
  evaluate(attributes: RequestAttributes): Decision;
  /**
   * The request that the calling code handles, or undefined in background work. Kept where a TokenPropagation of this workload has an outbound mode other
   * than NONE, or with `createMesh({requestContext: true})`; throws `TypeError` elsewhere.
   */
  context(): RequestContext | undefined;
  /**
   * Runs `act` as part of the request of `context`, for timers, queues and pools that lose it: its calls carry that user. Takes only what `context()`
   * returned in this process, else throws `TypeError`. A user whose token has ended since is not carried: such calls are refused.
   */
  runAs<T>(context: RequestContext, act: () => T): T;
  /**
   * Counts and gauges in Prometheus' text format 0.0.4, for a route of your own; the admin listener answers with them at `/metrics`. Counting begins when they
   * are first asked for: until then it costs nothing.
   */
  metrics(): string;
  /** The port of the admin listener on 127.0.0.1; undefined without one. */
  readonly adminPort: number | undefined;
  /** Reads the configuration now, and of enmesh.yaml what it says of the access log; resolves true when a new configuration is in force. */
  reload(): Promise<boolean>;
  /** Resolves when an identity is held, the configuration is good, and every key set and bundle endpoint was tried once. */
  ready(): Promise<void>;
  /**
   * Stops accepting, lets what is in flight finish within `deadlineMs` (10000 by default), ends connections, timers and watches. After it nothing of the
   * mesh keeps the process alive: `process.once('SIGTERM', () => void mesh.close())` ends it with 0, a second signal at once.
   */
  close(options?: { readonly deadlineMs?: number }): Promise<void>;
}
