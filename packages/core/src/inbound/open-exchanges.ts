import type { IncomingMessage, ServerResponse } from 'node:http';
import { performance } from 'node:perf_hooks';
import type { Duplex } from 'node:stream';
import { noticeEvents } from '../telemetry/events.js';
import { responseOn } from '../tls/connections.js';
import { endStream } from '../tls/end-stream.js';
import { connectionOf } from '../tls/peer.js';
import type { Inbound } from './inbound.js';
import type { Refusal } from './refusal.js';
import { pathOf } from '../request/sent-path.js';

/** A response open for less than this is an answer on its way, in milliseconds. */
const openMs = 5_000;

/** The exchanges of one server that stay open: upgrades, and responses that stream. */
export interface OpenExchanges {
  /** Notes an upgrade that the door let in. */
  addUpgrade(socket: Duplex, request: IncomingMessage): void;
  /** Looks at what is open on a connection, and ends it where its request would be refused now. */
  visit(socket: Duplex): void;
}

/**
 * Creates the looking after of exchanges that outlive the decision about their request: a WebSocket, server-sent events, a long answer. Each sweep of
 * the server judges them again, so that a token that ended or a policy that changed ends them too, with a notice `stream-ended` that says why.
 * Ordinary requests cost nothing here: a response is noticed when a sweep finds it and judged when it is still there 5 s later.
 */
export function createOpenExchanges(o: { readonly inbound: Inbound }): OpenExchanges {
  const upgrades = new WeakMap<Duplex, IncomingMessage>();
  const firstSeen = new WeakMap<ServerResponse, number>();
  const isLong = (response: ServerResponse): boolean => {
    const since = firstSeen.get(response);
    if (since === undefined) firstSeen.set(response, performance.now());
    return since !== undefined && performance.now() - since >= openMs;
  };
  return {
    addUpgrade: (socket, request) => void upgrades.set(socket, request),
    visit(socket) {
      const upgraded = upgrades.get(socket);
      const response = upgraded === undefined ? responseOn(socket) : undefined;
      const request = upgraded ?? (response !== undefined && isLong(response) ? response.req : undefined);
      if (request === undefined) return;
      const refusal = o.inbound.rejudge(request);
      if (refusal === undefined) return;
      upgrades.delete(socket);
      tellEnded(request, refusal, upgraded === undefined ? 'response' : 'upgraded connection');
      endStream(socket);
    },
  };
}

function tellEnded(request: IncomingMessage, refusal: Refusal, what: string): void {
  const { id, step, code, reason, decision } = refusal;
  const path = pathOf(request.url ?? '');
  const peer = connectionOf(request.socket).peer?.uri;
  noticeEvents.publish({
    kind: 'stream-ended',
    level: 'warn',
    code,
    message: `an open ${what} of ${request.method} ${path} was ended, because its request would be refused now: ${reason}`,
    details: { id, step, decision, path, method: request.method, peer },
  });
}
