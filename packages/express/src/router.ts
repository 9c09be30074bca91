import type { Application } from 'express';
import { expressRouter, type RouterSettings } from '@enmesh/core/inbound';

/** What both Express 4 and 5 keep of a route, a middleware or a mounted router. */
interface Layer {
  readonly name?: string;
  readonly route?: unknown;
  readonly handle?: Handle;
}

type Handle = object & { readonly stack?: readonly Layer[]; readonly caseSensitive?: boolean };

/** The layers of an application in the order of their registration; Express 4 has `_router`, Express 5 `router`. */
function layersOf(app: Application): readonly Layer[] {
  const of4 = (app as unknown as { _router?: Handle })._router;
  if (of4 !== undefined) return of4.stack ?? [];
  try {
    return (app as unknown as { router?: Handle }).router?.stack ?? [];
  } catch {
    // Express 4 throws here while nothing is registered.
    return [];
  }
}

/**
 * How the application's routers read paths. Case counts only where every router of the application says so; a mounted application cannot be
 * looked into, so it counts as Express' default, the loose one. Slashes are always loose: Express answers at a mount path with and without
 * the last one, and Express 4 with doubled ones, whatever `strict routing` says.
 */
export function routerOf(app: Application): RouterSettings {
  return { ...expressRouter, caseSensitive: app.enabled('case sensitive routing') && layersOf(app).every(minds) };
}

function minds({ name, handle, route }: Layer): boolean {
  if (name === 'mounted_app') return false;
  if (handle?.stack === undefined || route !== undefined) return true;
  return handle.caseSensitive === true && handle.stack.every(minds);
}

/** Whether a route stands before the given middleware, so that requests reach it undecided. */
export function isRegisteredLate(app: Application, isMiddleware: (handle: object) => boolean): boolean {
  const layers = layersOf(app);
  const at = layers.findIndex(({ handle }) => handle !== undefined && isMiddleware(handle));
  return at > 0 && layers.slice(0, at).some(leadsToRoute);
}

function leadsToRoute(layer: Layer): boolean {
  return layer.route !== undefined || layer.name === 'mounted_app' || (layer.handle?.stack?.some(leadsToRoute) ?? false);
}
