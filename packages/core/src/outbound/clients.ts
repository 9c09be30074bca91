import type { Agent } from 'node:http';
import type { Dispatcher } from 'undici';
import { EnmeshError } from '../errors.js';
import { createMeshAgent } from './agent.js';
import { createMeshDispatcher } from './dispatcher.js';
import { createMeshFetch, createMeshRequest } from './fetch.js';
import { endsWithin } from './ends-within.js';
import type { OutboundOptions } from './options.js';
import { createOutliers } from './outliers.js';

/** The clients of a mesh, over one dispatcher and one agent. */
export interface MeshClients {
  readonly dispatcher: Dispatcher;
  readonly agent: Agent;
  readonly fetch: ReturnType<typeof createMeshFetch>;
  readonly request: ReturnType<typeof createMeshRequest>;
  /** Takes no more calls; those in flight have so many milliseconds to finish, then they end with an error. */
  close(deadlineMs: number): Promise<void>;
}

/** Creates the clients of a mesh. */
export function createMeshClients(given: OutboundOptions): MeshClients {
  const options = { outliers: createOutliers(), ...given };
  const dispatcher = createMeshDispatcher(options);
  const agent = createMeshAgent(options);
  return {
    dispatcher,
    agent,
    fetch: createMeshFetch(dispatcher),
    request: createMeshRequest(dispatcher),
    async close(deadlineMs) {
      const finished = Promise.all([agent.close(), dispatcher.close()]);
      if (await endsWithin(finished, deadlineMs)) return;
      agent.destroy();
      await dispatcher.destroy(
        new EnmeshError('ENMESH_OUTBOUND_CLOSED', 'the mesh was closed and the call did not finish in time'),
      );
    },
  };
}
