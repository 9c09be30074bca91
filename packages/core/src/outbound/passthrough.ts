import type { Socket } from 'node:net';
import { Agent, buildConnector } from 'undici';
import { EnmeshError } from '../errors.js';
import { noticeEvents } from '../telemetry/events.js';
import { openOutside } from './call-context.js';
import type { CallTokens } from './call-tokens.js';
import { planCall, type CallPlan, type CallTarget, type PassPlan, type PlanSources } from './plan.js';

/**
 * An ordinary client, for calls that the mesh has no part in. A resumed TLS session would skip the certificate checks, so none is kept.
 * A connection to a declared host at a port that it does not have fails with `ENMESH_OUTBOUND_UNDECLARED`, for the name alone explains nothing.
 */
export function createPassthrough(snapshot: () => PlanSources, tokens?: CallTokens): Agent {
  const connect = buildConnector({ maxCachedSessions: 0 });
  return new Agent({
    connect(options, callback) {
      openOutside(tokens, callback as (error: Error | null, socket: Socket | null) => void, (tell) =>
        connect(options, (error, socket) => {
          if (error === null) return tell(null, socket);
          const protocol = options.protocol === 'https:' ? 'https:' : 'http:';
          const port = Number(options.port) || (protocol === 'https:' ? 443 : 80);
          const plan = planCall(snapshot(), { protocol, host: options.hostname, port });
          tell(plan.kind === 'pass' ? explained(plan, error) : error, null);
        }),
      );
    },
  });
}

/** Calls back when a socket that is connecting to a port nobody declares is connected, or with `ENMESH_OUTBOUND_UNDECLARED` when it cannot be. */
export function tellOutcome(socket: Socket, plan: PassPlan, tell: (error: Error | null, socket?: Socket) => void): void {
  const failed = (error: Error): void => tell(explained(plan, error));
  socket.once('error', failed);
  socket.once('connect', () => {
    socket.off('error', failed);
    tell(null, socket);
  });
}

function explained({ undeclaredPort }: PassPlan, cause: Error): Error {
  if (undeclaredPort === undefined) return cause;
  const reason = (cause as NodeJS.ErrnoException).code ?? cause.name;
  const message = `${undeclaredPort}, so the call went out as to any host of the network, where it found nobody (${reason})`;
  return new EnmeshError('ENMESH_OUTBOUND_UNDECLARED', message, { cause });
}

const told = new WeakMap<PlanSources, Set<string>>();

/** Says, once for each host and port of a configuration, that calls to a declared host leave the mesh unsecured because of their port. */
export function tellUndeclaredPort(plan: CallPlan, { protocol, host, port }: CallTarget, snapshot: PlanSources): void {
  if (plan.kind !== 'pass' || plan.undeclaredPort === undefined || protocol !== 'http:' || !noticeEvents.hasSubscribers) return;
  const known = told.get(snapshot) ?? new Set();
  told.set(snapshot, known);
  if (known.has(`${host}:${port}`)) return;
  known.add(`${host}:${port}`);
  noticeEvents.publish({
    kind: 'call-undeclared-port',
    level: 'warn',
    code: 'ENMESH_OUTBOUND_UNDECLARED',
    message: `${plan.undeclaredPort}, so calls to it leave the mesh in plaintext, as to any host of the network`,
    details: { host, port },
  });
}
