// The stock service: an ordinary Fastify application.
import Fastify from 'fastify';
import { createMesh } from '@enmesh/core';
import { enmesh, serverFactory } from '@enmesh/fastify';
import { announce, giveUp, stopOnSignals, wordsOf } from '../../platform/service.js';

const stocks = new Map([
  ['1', 12],
  ['draft-3', 0],
]);

try {
  const mesh = await createMesh();
  const app = Fastify({ serverFactory: serverFactory(mesh, { workloadPort: 9080 }) });
  await app.register(enmesh, { mesh });

  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-shop-decision', wordsOf(request.enmesh.decision));
  });
  app.get('/stocks', (request, reply) => {
    const { productId } = request.query;
    const quantity = stocks.get(productId);
    if (quantity === undefined) return reply.code(404).send({ error: 'no stock of this product' });
    return reply.send({ productId, quantity });
  });

  // A correction says in whose name it was made: the user, and the services that carried the user here.
  app.post('/corrections', (request, reply) => {
    const { user, actors, peer } = request.enmesh;
    return reply.send({ user: user?.principal, through: actors, peer: peer?.principal, headers: request.raw.rawHeaders });
  });

  await mesh.ready();
  await app.listen({ port: Number(process.env.STOCK_PORT ?? 9082), host: '127.0.0.1' });
  announce('stock', app.server, mesh, 9080);
  stopOnSignals(mesh);
} catch (error) {
  giveUp(error);
}
