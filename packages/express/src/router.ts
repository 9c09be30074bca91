import type { Application } from 'express';
import { expressRouter, type RouterSettings } from '@enmesh/core/inbound';

/** What both Express 4 and 5 keep of a route, a middleware or a mounted router. */
interface Layer {
  readonly name?: string;
  readonly route?: unknown;
  readonly handle?: Handle;
}

type Handle = object & { readonly stack?: readonly Layer[]; readonly caseSensitive?: boolean; readonly strict?: boolean };

/** The layers of an application in the order of their registration; Express 4 has `_router`, Express 5 `router`. */
export function layersOf(app: Application): readonly Layer[] {
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
 * How the application's routers read paths: as exact as all of them are. A mounted application cannot be looked into, so it counts as
 * Express' default, which is the loose one; a DENY then also matches spellings that the router would have told apart.
 */
export function routerOf(app: Application): RouterSettings {
  const layers = layersOf(app);
  return {
    ...expressRouter,
    caseSensitive: app.enabled('case sensitive routing') && layers.every((layer) => isExact(layer, 'caseSensitive')),
    strictSlash: app.enabled('strict routing') && layers.every((layer) => isExact(layer, 'strict')),
  };
}

function isExact(layer: Layer, setting: 'caseSensitive' | 'strict'): boolean {
  if (layer.name === 'mounted_app') return false;
  const { handle } = layer;
  if (handle?.stack === undefined || layer.route !== undefined) return true;
  return handle[setting] === true && handle.stack.every((inner) => isExact(inner, setting));
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
