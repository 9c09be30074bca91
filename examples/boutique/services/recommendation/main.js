// What a user may like (Fastify), and the canary: a new way to find it.
import Fastify from 'fastify';
import { enmesh, serverFactory } from '@enmesh/fastify';
import { address, ask, mesh, open, workloadPort } from '../../common.js';

const app = Fastify({ serverFactory: serverFactory(mesh, { workloadPort }) });
await app.register(enmesh, { mesh });

app.get('/recommendations', async () => {
  const products = await ask('productcatalog', '/products');
  return { recommended: products.slice(0, 2).map(({ name }) => name) };
});
app.get('/canary', async (request) => {
  const products = await ask('productcatalog', '/products');
  return { version: 'canary', recommended: products.slice(-1).map(({ name }) => name), for: request.enmesh.user.subject };
});

await mesh.ready();
await app.listen(address);
open(app.server);
