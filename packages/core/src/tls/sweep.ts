import type { Server } from 'node:https';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { ErrorCode } from '../errors.js';
import type { Stop } from '../identity/source.js';
import type { TrustBundleSet } from '../identity/trust-bundle.js';
import { noticeEvents } from '../telemetry/events.js';
import type { Objection } from './admit.js';
import { closeAfter, connectionsOf, responseOn } from './connections.js';
import { endStream } from './end-stream.js';
import { connectionOf } from './peer.js';
import { codeOf } from './secure-context.js';
import type { Era } from './standing.js';
import { doInTurns, type Step } from './turns.js';

/** How a server looks at its open connections. Times are milliseconds. */
export interface SweepOptions {
  readonly server: Server;
  readonly era: Era;
  /** Tells of changes of what `era.accept` answers; without it every sweep asks anew. */
  readonly watchAccept?: ((onChange: () => void) => Stop) | undefined;
  /** Looks at a connection that is still acceptable: at what its client has left open. A throw is ignored. */
  readonly visit?: ((socket: Duplex) => void) | undefined;
  /** Between sweeps that no change asks for; 10000 by default. */
  readonly everyMs?: number | undefined;
  /** How long the request in flight on a connection that is to end may take; 15000 by default. */
  readonly graceMs?: number | undefined;
}

/** The looking after open connections of one server. */
export interface Sweeper {
  /** Begins, once; ends by itself when the server has closed. */
  start(): void;
}

/**
 * Creates what ends connections that their server would no longer take: after each change of modes, trust domains or bundles, and by a timer
 * for what ends with time (the peer's certificate, our own SVID). The request in flight finishes, with `Connection: close`, within the grace;
 * an idle connection ends at once. One notice of kind `connections-ended` tells of all that one sweep ended for the same code.
 */
export function createSweeper(o: SweepOptions): Sweeper {
  const sweep = createSweep(o);
  let isStarted = false;
  let bundles: TrustBundleSet | undefined;
  const changed = (): void => {
    o.era.generation += 1;
    sweep();
  };
  const tick = (): void => {
    const now = bundlesOf(o.era);
    // A source may forget to tell; asking it costs nothing here.
    if (o.watchAccept === undefined || now !== bundles) o.era.generation += 1;
    bundles = now;
    sweep();
  };
  return {
    start() {
      if (isStarted) return;
      isStarted = true;
      bundles = bundlesOf(o.era);
      const timer = setInterval(tick, o.everyMs ?? 10_000).unref();
      const stops = [o.era.identity.bundles.watch(changed), o.watchAccept?.(changed)];
      o.server.once('close', () => {
        isStarted = false;
        clearInterval(timer);
        for (const stop of stops) stop?.();
      });
    },
  };
}

function bundlesOf({ identity }: Era): TrustBundleSet | undefined {
  try {
    return identity.bundles.current();
  } catch {
    return undefined;
  }
}

/** The function that asks for a sweep: changes that come together make one, and many connections are looked at in turns. */
function createSweep(o: SweepOptions): () => void {
  const ending = new WeakSet<Duplex>();
  let isAsked = false;
  let isRunning = false;
  const createRun = (): (() => Step) => {
    const ended = new Map<ErrorCode, Ended>();
    let left: Iterator<Duplex> | undefined;
    return () => {
      if (left === undefined) {
        isAsked = false;
        left = [...connectionsOf(o.server)].values();
      }
      const { done, value: socket } = left.next();
      if (done === true) {
        finish(ended);
        return 'done';
      }
      try {
        return look(o, socket, { own: ownObjection(o.era), ending, ended }) ? 'costly' : 'more';
      } catch {
        socket.destroy();
        return 'costly';
      }
    };
  };
  const begin = (): void => {
    isAsked = true;
    if (isRunning) return;
    isRunning = true;
    doInTurns(createRun());
  };
  const finish = (ended: ReadonlyMap<ErrorCode, Ended>): void => {
    isRunning = false;
    if (isAsked) begin();
    tellEnded(ended);
  };
  return begin;
}

/** What one sweep ended for the same code. */
interface Ended {
  /** The first of the reasons. */
  readonly reason: string;
  readonly peers: Set<string>;
  count: number;
}

interface Look {
  readonly own: Objection | undefined;
  readonly ending: WeakSet<Duplex>;
  readonly ended: Map<ErrorCode, Ended>;
}

/** Looks at one connection; true when it was told to end. */
function look(o: SweepOptions, socket: Duplex, { own, ending, ended }: Look): boolean {
  if (socket.destroyed || ending.has(socket)) return false;
  const objection = objectTo(socket, o.era, own);
  if (objection === undefined) {
    try {
      o.visit?.(socket);
    } catch {
      // What is open on one connection must not keep the others from being looked at.
    }
    return false;
  }
  ending.add(socket);
  endConnection(socket, o.graceMs ?? 15_000);
  noteEnded(ended, objection);
  return true;
}

function objectTo(socket: Duplex, era: Era, own: Objection | undefined): Objection | undefined {
  try {
    const facts = connectionOf(socket);
    return facts.standing?.objection() ?? facts.standing?.objectionAt(era.clock()) ?? (facts.tls ? own : undefined);
  } catch (error) {
    const reason = `looking at an open connection again failed: ${codeOf(error)}`;
    return { step: 'accept', code: 'ENMESH_TLS_ACCEPT_FAULT', reason };
  }
}

/** That this service may no longer say who it is: its SVID ended and no other came. */
function ownObjection({ identity, clock }: Era): Objection | undefined {
  const none: Objection = { step: 'accept', code: 'ENMESH_IDENTITY_NONE', reason: 'this service holds no valid SVID any more' };
  try {
    return clock() < identity.svid.current().notAfter ? undefined : none;
  } catch {
    return none;
  }
}

/** Lets the response in flight finish as the last one of its connection, within `graceMs`; ends a connection without one at once. */
function endConnection(socket: Duplex, graceMs: number): void {
  const response = responseOn(socket);
  if (response === undefined) return endStream(socket);
  const deadline = setTimeout(() => socket.destroy(), graceMs).unref();
  socket.once('close', () => clearTimeout(deadline));
  response.once('close', () => (socket as Socket).destroySoon());
  try {
    closeAfter(response);
  } catch {
    socket.destroy();
  }
}

const maxPeers = 10;

function noteEnded(ended: Map<ErrorCode, Ended>, { code, reason, peer }: Objection): void {
  let same = ended.get(code);
  if (same === undefined) ended.set(code, (same = { reason, peers: new Set(), count: 0 }));
  same.count += 1;
  if (peer !== undefined && same.peers.size < maxPeers) same.peers.add(peer);
}

function tellEnded(ended: ReadonlyMap<ErrorCode, Ended>): void {
  for (const [code, { reason, peers, count }] of ended) {
    const what =
      count === 1 ? 'an open connection was ended, because' : `${count} open connections were ended, one of them because`;
    noticeEvents.publish({
      kind: 'connections-ended',
      level: 'warn',
      code,
      message: `${what} ${reason}`,
      details: { count, peers: [...peers] },
    });
  }
}
