import { Server as TlsServer } from 'node:https';
import { Server as NetServer, type ListenOptions } from 'node:net';
import { EnmeshError } from '../errors.js';

/** Refuses, in words, what a door cannot stand in front of (docs/deviations.md, "What enmesh does not do"). */
export function requireListener(listener: unknown): void {
  if (typeof listener === 'function') return;
  const what =
    listener instanceof NetServer
      ? `a server of its own (${listener.constructor.name}); raw TCP and HTTP/2 (gRPC) servers are not supported: pass the request listener or the application itself`
      : `${listener === null ? 'null' : typeof listener}; pass a function (request, response) or an application`;
  throw new TypeError(`enmesh: the listener is ${what}`);
}

/** Refuses, with `TypeError`, what is no mesh where an adapter's `where` is given one: most often the promise of `createMesh`. */
export function requireMesh(mesh: unknown, where: string): void {
  const { createServer, then } = (mesh ?? {}) as { readonly createServer?: unknown; readonly then?: unknown };
  if (typeof createServer === 'function') return;
  const fault =
    typeof then === 'function'
      ? 'the mesh is a promise; write `await createMesh(...)` and pass what it gives'
      : 'the first argument is no mesh; pass what createMesh() gives';
  throw new TypeError(`${where}: ${fault}`);
}

/**
 * Opens a server and resolves when it listens. Rejects with `ENMESH_MESH_PORT` when the port cannot be had, naming port and remedy.
 */
export function openServer<S extends TlsServer>(server: S, options: ListenOptions): Promise<S> {
  return new Promise((done, fail) => {
    const onError = (cause: NodeJS.ErrnoException): void => {
      const why =
        cause.code === 'EADDRINUSE'
          ? 'is in use by another process'
          : cause.code === 'EACCES'
            ? 'needs privileges this process has not'
            : `cannot be opened (${cause.message})`;
      fail(
        new EnmeshError(
          'ENMESH_MESH_PORT',
          `port ${options.port}${options.host === undefined ? '' : ` of ${options.host}`} ${why}`,
          { cause },
        ),
      );
    };
    server.once('error', onError);
    server.listen(options, () => {
      server.off('error', onError);
      done(server);
    });
  });
}
