import { EnmeshError, type Mesh, type MeshServer, type RequestEnmesh, type ServerOptions } from '@enmesh/core';
import { enforce, openServer, requireMesh, type RouterSettings } from '@enmesh/core/inbound';
import type { Application, NextFunction, Request, RequestHandler, Response } from 'express';
import { isRegisteredLate, routerOf } from './router.js';

declare global {
  // Express' own place for additions to its request.
  namespace Express {
    interface Request {
      /** The verified peer and user of this request, and the decision that let it pass. */
      enmesh: RequestEnmesh;
    }
  }
}

/** Options of {@link listen}: those of `mesh.createServer`, and the address. */
export interface ListenOptions extends ServerOptions {
  readonly host?: string;
}

const middlewares = new WeakSet<object>();

/**
 * Opens an application behind the mesh's door: every request is decided before Express sees it, whatever the application registers.
 * Waits for `mesh.ready()`. Rejects with `ENMESH_MESH_PORT`, or `ENMESH_EXPRESS_MIDDLEWARE_LATE` when {@link enmesh} stands behind a route.
 * @example
 * const mesh = await createMesh();
 * await listen(mesh, app, 8080);
 */
export async function listen(mesh: Mesh, app: Application, port: number, options: ListenOptions = {}): Promise<MeshServer> {
  requireMesh(mesh, 'listen');
  const { host, ...rest } = options;
  if (typeof app === 'function' && typeof app.enabled === 'function' && isRegisteredLate(app, isOurs)) throw lateMiddleware();
  const router = typeof app === 'function' && typeof app.enabled === 'function' ? { router: routerOf(app) } : {};
  const server = mesh.createServer(app, { ...router, ...rest });
  await mesh.ready();
  return openServer(server, { port, ...(host === undefined ? {} : { host }) });
}

/**
 * The middleware: `req.enmesh`, and enforcement for applications that own their server (supertest, TLS ended upstream). Register it before
 * the first route; behind the door it only passes on what was decided there.
 * @example app.use(enmesh(mesh));
 */
export function enmesh(mesh: Mesh): RequestHandler {
  requireMesh(mesh, 'enmesh');
  let router: RouterSettings | undefined;
  const middleware = (request: Request, response: Response, next: NextFunction): void => {
    if (router === undefined) {
      const app = rootOf(request.app);
      if (isRegisteredLate(app, isOurs)) return next(lateMiddleware());
      router = routerOf(app);
    }
    const entrance = { router, workloadPort: undefined, mayRewrite: false };
    enforce(mesh, request, response, { entrance, target: targetOf(request), next: () => next() });
  };
  middlewares.add(middleware);
  return middleware;
}

/**
 * The target that the routers from here on get, with the mount path that Express has cut off: a middleware before this one may have written
 * another `url`. For a bare mount path Express puts in a slash of its own.
 */
function targetOf({ originalUrl, baseUrl, url }: Request): string {
  if (!url.startsWith('/') || baseUrl + url.slice(1) === originalUrl) return originalUrl;
  return baseUrl + url;
}

function isOurs(handle: object): boolean {
  return middlewares.has(handle);
}

/** The application that the server calls: mounted ones know their parent. */
function rootOf(app: Application): Application {
  const { parent } = app as { parent?: Application };
  return parent === undefined ? app : rootOf(parent);
}

function lateMiddleware(): EnmeshError {
  return new EnmeshError(
    'ENMESH_EXPRESS_MIDDLEWARE_LATE',
    'app.use(enmesh(mesh)) is registered after a route, which it therefore does not guard; move it before the first route',
  );
}
