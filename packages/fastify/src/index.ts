import type { RequestListener } from 'node:http';
import { EnmeshError, type Mesh, type MeshServer, type RequestEnmesh, type ServerOptions } from '@enmesh/core';
import { decisionOf, enforce, fastifyRouter, requireMesh, type RouterSettings } from '@enmesh/core/inbound';
import type { FastifyInstance, FastifyPluginCallback } from 'fastify';
import fp from 'fastify-plugin';

declare module 'fastify' {
  interface FastifyRequest {
    /** The verified peer and user of this request, and the decision that let it pass. */
    readonly enmesh: RequestEnmesh;
  }
}

/** The router options of Fastify that change which paths are one route; newer versions nest them. Doubled slashes are one anyway. */
interface FastifyRouterOptions {
  readonly caseSensitive?: boolean;
  readonly ignoreTrailingSlash?: boolean;
  readonly useSemicolonDelimiter?: boolean;
  readonly routerOptions?: FastifyRouterOptions;
}

function routerOf(options: FastifyRouterOptions): RouterSettings {
  const read = (name: Exclude<keyof FastifyRouterOptions, 'routerOptions'>): boolean | undefined =>
    options.routerOptions?.[name] ?? options[name];
  return {
    ...fastifyRouter,
    caseSensitive: read('caseSensitive') ?? fastifyRouter.caseSensitive,
    strictSlash: !(read('ignoreTrailingSlash') ?? false),
    semicolonDelimiter: read('useSemicolonDelimiter') ?? false,
  };
}

/**
 * The door for Fastify: every request is decided before Fastify sees it. Reads the router's settings from Fastify's own options.
 * Throws `TypeError` for an application with `rewriteUrl`, which would route another path than the one that was judged.
 * @example const app = Fastify({ serverFactory: serverFactory(mesh) });
 */
export function serverFactory(
  mesh: Mesh,
  options: ServerOptions = {},
): (handler: RequestListener, fastify: object) => MeshServer {
  requireMesh(mesh, 'serverFactory');
  return (handler, fastify) => {
    if ('rewriteUrl' in fastify && fastify.rewriteUrl !== undefined)
      throw new TypeError(
        'serverFactory: `rewriteUrl` would route another path than the one the policies judged; use the enmesh plugin',
      );
    return mesh.createServer(handler, { router: routerOf(fastify), ...options });
  };
}

/** Options of the {@link enmesh} plugin. */
export interface EnmeshPluginOptions {
  readonly mesh: Mesh;
}

const plugin: FastifyPluginCallback<EnmeshPluginOptions> = (fastify: FastifyInstance, { mesh }, done) => {
  try {
    requireMesh(mesh, 'register(enmesh, { mesh })');
  } catch (error) {
    return done(error as Error);
  }
  if (fastify.printRoutes({ commonPrefix: false }).trim() !== '(empty tree)') {
    const message =
      'the enmesh plugin is registered after a route; encapsulated routes before it would not be guarded: register it first';
    return done(new EnmeshError('ENMESH_FASTIFY_PLUGIN_LATE', message));
  }
  const router = routerOf(fastify.initialConfig as FastifyRouterOptions);
  const entrance = { router, workloadPort: undefined, mayRewrite: false };
  fastify.decorateRequest('enmesh', {
    getter() {
      return decisionOf(this.raw) as RequestEnmesh;
    },
  });
  fastify.addHook('onRequest', (request, reply, next) => {
    enforce(mesh, request.raw, reply.raw, { entrance, next: () => next(), onRefused: () => void reply.hijack() });
  });
  done();
};

/**
 * The plugin: `request.enmesh`, and enforcement for applications without the door (inject, TLS ended upstream). Register it first: its `onRequest`
 * hook decides before any body is read.
 * @example await app.register(enmesh, { mesh });
 */
export const enmesh = fp(plugin, { name: '@enmesh/fastify', fastify: '5.x' });
