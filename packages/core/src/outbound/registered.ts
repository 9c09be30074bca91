import type { OutboundOptions } from './options.js';

/** What clients that are made of a mesh from outside need of it. */
export interface RegisteredOutbound {
  readonly options: OutboundOptions;
  /** Called when the mesh closes, with the milliseconds that calls in flight have to finish. */
  readonly closers: Set<(deadlineMs: number) => Promise<void>>;
}

const registered = new WeakMap<object, RegisteredOutbound>();

/** Remembers the outgoing half of a mesh; the result closes what was made of it. */
export function registerOutbound(mesh: object, options: OutboundOptions): (deadlineMs: number) => Promise<void> {
  const outbound: RegisteredOutbound = { options, closers: new Set() };
  registered.set(mesh, outbound);
  return async (deadlineMs) => {
    await Promise.all([...outbound.closers].map((close) => close(deadlineMs)));
  };
}

/** The outgoing half of a mesh that `createMesh` of this copy of `@enmesh/core` made; throws `TypeError` for anything else. */
export function outboundOf(mesh: object): RegisteredOutbound {
  const outbound = registered.get(mesh);
  if (outbound === undefined) throw new TypeError('not a mesh of this copy of @enmesh/core');
  return outbound;
}
