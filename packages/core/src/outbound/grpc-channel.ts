import type { GrpcRoute } from '../custom/grpc-package.js';
import { EnmeshError, isEnmeshError } from '../errors.js';
import { contextOfNow } from './call-context.js';
import { endsWithin } from './ends-within.js';
import { distrusted } from './retired-pools.js';
import { graceMs } from './servers.js';
import { grpcTargetOf, createRouteCredentials, type GrpcModule } from './grpc-credentials.js';

/** How a {@link MeshChannel} finds its service. */
export interface ChannelOptions {
  readonly grpc: GrpcModule;
  /** `host:port` that was asked for: `:authority` of its calls. */
  readonly authority: string;
  /** Asked at each call; the same object while configuration and identity stay. Throws when a call would be refused. */
  readonly route: () => GrpcRoute;
  /** Does to a call of a method (`/package.Service/Method`) by a route what is to be done besides; absent where nothing is. */
  readonly shape?: ((call: object, route: GrpcRoute, path: string) => void) | undefined;
  /** What the application gives grpc-js for its channels. */
  readonly given: object;
}

interface StatusListener {
  onReceiveMetadata(metadata: unknown): void;
  onReceiveMessage(message: unknown): void;
  onReceiveStatus(status: unknown): void;
}

interface Call {
  start(metadata: unknown, listener: StatusListener): void;
  cancelWithStatus(status: number, details: string): void;
}

type CallArguments = readonly unknown[];

interface Channel {
  close(): void;
  getConnectivityState(tryToConnect: boolean): number;
  watchConnectivityState(state: number, deadline: Date | number, callback: (error?: Error) => void): void;
  getChannelzRef(): unknown;
  createCall(...args: CallArguments): Call;
}

/** A channel of grpc-js with the calls that go through it. */
interface Lane {
  readonly route: GrpcRoute;
  readonly channel: Channel;
  readonly calls: Set<Call>;
  isRetired: boolean;
  /** Runs where its calls in flight are bounded. */
  timer: NodeJS.Timeout | undefined;
}

/** Status and connectivity by grpc's numbers. */
const UNAVAILABLE = 14;
const TRANSIENT_FAILURE = 3;
const SHUTDOWN = 4;

const pollMs = 250;

const fixedOptions = {
  // Neither a proxy nor a DNS record has a say in how a service is reached.
  'grpc.enable_http_proxy': 0,
  'grpc.service_config_disable_resolution': 1,
  // Connections end with their channel, and are never another channel's.
  'grpc.use_local_subchannel_pool': 1,
};

/**
 * The channel of a service for grpc-js (`channelFactoryOverride`): one channel of grpc-js at a time, of one configuration and identity. When either
 * changes the next call goes through a new one, and the old one closes when the last of its calls has ended. A call that would be refused ends with
 * status UNAVAILABLE and our code in its details; nothing is sent.
 */
export class MeshChannel {
  readonly #options: ChannelOptions;
  readonly #onClose: () => void;
  /** The one in use, and those that finish their calls. */
  readonly #lanes = new Set<Lane>();
  #lane: Lane | undefined;
  readonly #waiting: (() => void)[] = [];
  #isClosed = false;

  constructor(options: ChannelOptions, onClose: () => void = () => {}) {
    this.#options = options;
    this.#onClose = onClose;
  }

  createCall(...args: CallArguments): object {
    try {
      const lane = this.#current();
      const call = this.#counted(lane, lane.channel.createCall(...args));
      this.#options.shape?.(call, lane.route, String(args[0]));
      return call;
    } catch (error) {
      return this.#refusedCall(error);
    }
  }

  getTarget(): string {
    return this.#options.authority;
  }

  getConnectivityState(tryToConnect: boolean): number {
    if (this.#isClosed) return SHUTDOWN;
    return this.#attempt()?.channel.getConnectivityState(tryToConnect) ?? TRANSIENT_FAILURE;
  }

  watchConnectivityState(state: number, deadline: Date | number, callback: (error?: Error) => void): void {
    const lane = this.#attempt();
    if (lane !== undefined) return lane.channel.watchConnectivityState(state, deadline, callback);
    const left = Number(deadline) - Date.now();
    if (!(left > 0)) return void process.nextTick(callback, new Error('Deadline passed without connectivity state change'));
    // Whoever waits asks for the state again: by then there may be an identity, or an endpoint.
    setTimeout(callback, Math.min(pollMs, left)).unref();
  }

  getChannelzRef(): unknown {
    return this.#current().channel.getChannelzRef();
  }

  /** Retires the channel that stands where it is no longer the right one; calls in flight go on, for 15 s where their server is no longer believed. */
  refresh(): void {
    if (this.#lane !== undefined) this.#attempt();
    for (const lane of this.#lanes)
      if (lane.isRetired && lane.route.isDistrusted?.() === true)
        lane.timer ??= setTimeout(() => cancelAll(lane, distrusted()), graceMs).unref();
  }

  close(): void {
    this.#isClosed = true;
    this.#retire();
    this.#onClose();
  }

  /** Closes; calls in flight have so many milliseconds to finish, then they are cancelled. */
  async finish(deadlineMs: number): Promise<void> {
    this.close();
    const finished = new Promise<void>((done) => {
      this.#waiting.push(done);
      this.#settle();
    });
    if (await endsWithin(finished, deadlineMs)) return;
    const reason = new EnmeshError('ENMESH_OUTBOUND_CLOSED', 'the mesh was closed and the call did not finish in time');
    for (const lane of this.#lanes) cancelAll(lane, reason);
  }

  #attempt(): Lane | undefined {
    try {
      return this.#current();
    } catch {
      return undefined;
    }
  }

  #current(): Lane {
    const { grpc, authority, given } = this.#options;
    if (this.#isClosed) throw new EnmeshError('ENMESH_OUTBOUND_CLOSED', `the channel to ${authority} is closed`);
    const route = this.#routeNow();
    if (this.#lane?.route === route) return this.#lane;
    const credentials = createRouteCredentials(grpc, (socket) => route.secure(socket));
    const options = { 'grpc.default_authority': authority, ...given, ...fixedOptions };
    const channel = new grpc.Channel(grpcTargetOf(route), credentials as never, options) as Channel;
    this.#retire();
    this.#lane = { route, channel, calls: new Set(), isRetired: false, timer: undefined };
    this.#lanes.add(this.#lane);
    return this.#lane;
  }

  /** A refusal ends what stood before: its connections are of a configuration or an identity that is no longer good. */
  #routeNow(): GrpcRoute {
    try {
      return this.#options.route();
    } catch (error) {
      this.#retire();
      throw error;
    }
  }

  #retire(): void {
    const lane = this.#lane;
    this.#lane = undefined;
    if (lane === undefined) return;
    lane.isRetired = true;
    this.#drop(lane);
  }

  /** Closing a channel of grpc-js fails the calls that still wait for a connection, so it is done when there are none. */
  #drop(lane: Lane): void {
    if (!lane.isRetired || lane.calls.size > 0 || !this.#lanes.delete(lane)) return;
    clearTimeout(lane.timer);
    lane.channel.close();
    this.#settle();
  }

  #settle(): void {
    if (this.#isClosed && this.#lanes.size === 0) for (const done of this.#waiting.splice(0)) done();
  }

  #counted(lane: Lane, call: Call): Call {
    const start = call.start.bind(call);
    // grpc-js tells of an end in the context of whoever opened the connection, which may be the request of another user.
    const inContext = contextOfNow();
    call.start = (metadata, listener) => {
      lane.calls.add(call);
      start(metadata, {
        onReceiveMetadata: (received) => inContext(() => listener.onReceiveMetadata(received)),
        onReceiveMessage: (message) => inContext(() => listener.onReceiveMessage(message)),
        onReceiveStatus: (status) => {
          lane.calls.delete(call);
          this.#drop(lane);
          inContext(() => listener.onReceiveStatus(status));
        },
      });
    };
    return call;
  }

  #refusedCall(error: unknown): object {
    const details = isEnmeshError(error) ? `${error.code}: ${error.message}` : 'the call could not begin';
    const status = { code: UNAVAILABLE, details, metadata: new this.#options.grpc.Metadata() };
    return {
      start: (_metadata: unknown, listener: StatusListener) => process.nextTick(() => listener.onReceiveStatus(status)),
      getPeer: () => this.#options.authority,
      getCallNumber: () => 0,
      getAuthContext: () => null,
      sendMessageWithContext: (context: { callback?: () => void }) =>
        void (context.callback && process.nextTick(context.callback)),
      cancelWithStatus() {},
      startRead() {},
      halfClose() {},
      setCredentials() {},
    };
  }
}

function cancelAll({ calls }: Lane, { code, message }: EnmeshError): void {
  for (const call of [...calls]) call.cancelWithStatus(UNAVAILABLE, `${code}: ${message}`);
}
