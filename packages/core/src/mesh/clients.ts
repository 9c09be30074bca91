import { createRequire } from 'node:module';
import type { Settings } from '../config/settings.js';
import type { ConfigStore } from '../config/store.js';
import { EnmeshError } from '../errors.js';
import type { MeshIdentity } from '../identity/source.js';
import { createCallTokens, exchangeOpener, type CallTokens } from '../outbound/call-tokens.js';
import type { MeshClients } from '../outbound/clients.js';
import type { OutboundOptions } from '../outbound/options.js';
import type { TokenFetch } from '../outbound/token-fetch.js';

/** What ends the parts of a mesh, the last opened first; each has so many milliseconds for what is in flight. */
export type Stops = ((deadlineMs: number) => void | Promise<void>)[];

/** Opens what gives the calls of a mesh their tokens; it follows the configuration and ends with the mesh. */
export function openTokens(
  { clock }: Pick<Settings, 'clock'>,
  store: ConfigStore,
  exchanging: { readonly identity: MeshIdentity; readonly tokenFetch: TokenFetch },
  stops: Stops,
): CallTokens {
  const tokens = createCallTokens({ clock, openExchange: exchangeOpener({ ...exchanging, clock }) });
  stops.push(
    store.watch(({ propagation }) => tokens.use(propagation)),
    () => tokens.close(),
  );
  return tokens;
}

/**
 * The clients, loaded when one is first asked for: undici takes about 9 MB and 100 ms, which a service that calls nobody does not pay.
 * `require` of our own module, because the members of a mesh are synchronous.
 */
export function lazyClients(outbound: OutboundOptions, stops: Stops): () => MeshClients {
  const load = createRequire(import.meta.url);
  let clients: MeshClients | undefined;
  let isClosed = false;
  stops.push((deadlineMs) => {
    isClosed = true;
    return clients?.close(deadlineMs);
  });
  return () => {
    if (clients !== undefined) return clients;
    if (isClosed) throw new EnmeshError('ENMESH_MESH_CLOSED', 'a client was asked for after mesh.close()');
    const { createMeshClients } = load('../outbound/clients.js') as typeof import('../outbound/clients.js');
    return (clients = createMeshClients(outbound));
  };
}
