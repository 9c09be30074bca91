import type { Agent } from 'node:http';
import type { Dispatcher } from 'undici';
import { createMeshAgent } from './agent.js';
import { createMeshDispatcher } from './dispatcher.js';
import { createMeshFetch, createMeshRequest } from './fetch.js';
import type { OutboundOptions } from './options.js';
import { createOutliers } from './outliers.js';

/** The clients of a mesh, over one dispatcher and one agent. */
export interface MeshClients {
  readonly dispatcher: Dispatcher;
  readonly agent: Agent;
  readonly fetch: ReturnType<typeof createMeshFetch>;
  readonly request: ReturnType<typeof createMeshRequest>;
  /** Ends them: calls in flight finish. */
  close(): Promise<void>;
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
    async close() {
      agent.destroy();
      await dispatcher.close();
    },
  };
}
