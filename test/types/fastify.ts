// @enmesh/fastify as a Fastify service uses it; compiled by `npm run types`, never run.
import fastify from 'fastify';
import { createMesh, type RequestEnmesh } from '@enmesh/core';
import { enmesh, serverFactory } from '@enmesh/fastify';

export async function service(): Promise<string> {
  const mesh = await createMesh();
  const app = fastify({ serverFactory: serverFactory(mesh, { workloadPort: 80 }) });
  await app.register(enmesh, { mesh });
  // @ts-expect-error the plugin needs its mesh
  await app.register(enmesh, {});
  app.get('/', async (request) => {
    const seen: RequestEnmesh = request.enmesh;
    // @ts-expect-error what was decided is not to be replaced
    request.enmesh = seen;
    return { caller: request.enmesh.peer?.principal, user: request.enmesh.user?.subject };
  });
  return app.listen({ port: 8080 });
}
