import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Dispatcher } from 'undici';
import type { EnmeshError } from '../errors.js';
import type { TrustBundleSet } from '../identity/trust-bundle.js';
import { noticeEvents } from '../telemetry/events.js';
import type { VerifiedServer } from '../tls/client.js';
import { endStream } from '../tls/end-stream.js';
import { connectionOf } from '../tls/peer.js';
import { handlerAround } from './handler-around.js';
import { distrusted } from './retired-pools.js';
import { graceMs } from './servers.js';

const serverOf = new WeakMap<object, VerifiedServer>();

/** Remembers whom a connection of a pool leads to, for the case that a call upgrades it: from then on the pool does not know it. */
export function noteServer(socket: Socket, server: VerifiedServer): void {
  serverOf.set(socket, server);
}

/** The connections of one client that calls have upgraded (WebSockets, tunnels), for as long as they live. */
export interface UpgradedConnections {
  /** The handler to give undici in the place of that of a call that may upgrade. */
  watching(handler: Dispatcher.DispatchHandler): Dispatcher.DispatchHandler;
  /** Gives 15 s to those whose server's certificate has ended, or whom the bundles no longer accept; undefined bundles accept nobody. */
  judge(bundles: TrustBundleSet | undefined, now: number): void;
  /** Settles when the last of those there are now is gone. */
  gone(): Promise<void>;
  destroy(error: Error | null): void;
}

interface Upgraded {
  readonly socket: Duplex;
  readonly server: VerifiedServer | undefined;
  readonly closed: Promise<void>;
  /** The bundles by which its server was accepted last: to be asked once for each. */
  trustedBy: TrustBundleSet | undefined;
  timer: NodeJS.Timeout | undefined;
}

/** Creates an empty set of upgraded connections. */
export function createUpgradedConnections(): UpgradedConnections {
  const all = new Set<Upgraded>();
  const add = (socket: Duplex): void => {
    const closed = new Promise<void>((done) => void socket.once('close', done));
    const each: Upgraded = { socket, server: serverOf.get(socket), closed, trustedBy: undefined, timer: undefined };
    all.add(each);
    void closed.then(() => {
      clearTimeout(each.timer);
      all.delete(each);
    });
  };
  return {
    watching: (handler) => tellUpgrade(handler, add),
    judge(bundles, now) {
      for (const each of all) {
        const { server, socket } = each;
        if (server === undefined || each.timer !== undefined) continue;
        const isKnown = bundles !== undefined && bundles === each.trustedBy;
        if (server.until > now && (isKnown || (bundles !== undefined && server.isTrusted(bundles, now))))
          each.trustedBy = bundles;
        else each.timer = setTimeout(() => endDistrusted(socket), graceMs).unref();
      }
    },
    gone: () => Promise.all([...all].map(({ closed }) => closed)).then(() => {}),
    destroy(error) {
      for (const { socket } of all) endSafely(socket, () => socket.destroy(error ?? undefined));
    },
  };
}

/**
 * Ends a connection whose server is not believed any more and whose time is over, with `ENMESH_OUTBOUND_DISTRUSTED`: a WebSocket of the library `ws` by 1008, anything
 * else where it stands. An upgraded connection has no call that could be told, so there is a notice `stream-ended` besides.
 */
export function endDistrusted(socket: Duplex): void {
  const error = distrusted();
  tellEnded(socket, error);
  endSafely(socket, () => endStream(socket, 'the server is no longer trusted', error));
}

/** An error that nobody listens for would end the process; Node and undici take their own listeners off what they hand over. */
function endSafely(socket: Duplex, end: () => void): void {
  if (socket.listenerCount('error') === 0) socket.on('error', () => {});
  end();
}

function tellEnded(socket: Duplex, { code, message }: EnmeshError): void {
  if (!noticeEvents.hasSubscribers) return;
  const peer = connectionOf(socket as Socket).peer?.uri;
  noticeEvents.publish({
    kind: 'stream-ended',
    level: 'warn',
    code,
    message: `an open upgraded connection to ${peer ?? 'a server of the mesh'} was ended: ${message}`,
    details: { peer },
  });
}

function tellUpgrade(handler: Dispatcher.DispatchHandler, onUpgrade: (socket: Duplex) => void): Dispatcher.DispatchHandler {
  return handlerAround(handler, (name, args, tell) => {
    if (name === 'onUpgrade') onUpgrade(args[2] as Duplex);
    else if (name === 'onRequestUpgrade') onUpgrade(args[3] as Duplex);
    return tell();
  });
}
