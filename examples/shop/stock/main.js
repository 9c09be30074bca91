// The stock service: an ordinary Fastify application.
import Fastify from 'fastify';
import { createMesh } from '@enmesh/core';
import { enmesh, serverFactory } from '@enmesh/fastify';
import { announce, stopOnSignals } from '../service.js';

const stocks = new Map([['1', 12]]);

const mesh = await createMesh();
const app = Fastify({ serverFactory: serverFactory(mesh, { workloadPort: 9080 }) });
await app.register(enmesh, { mesh });

app.get('/stocks', (request, reply) => {
  const { productId } = request.query;
  const quantity = stocks.get(productId);
  if (quantity === undefined) return reply.code(404).send({ error: 'no stock of this product' });
  return { productId, quantity };
});

await mesh.ready();
await app.listen({ port: Number(process.env.STOCK_PORT ?? 0), host: '127.0.0.1' });
announce('stock', app.server, mesh);
stopOnSignals(mesh);
