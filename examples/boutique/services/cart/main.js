// The carts of users (Fastify). Whose cart it is says the mesh, not the caller: no user is named in a path or a body on the way here.
import Fastify from 'fastify';
import { enmesh, serverFactory } from '@enmesh/fastify';
import { address, ask, mesh, open, workloadPort } from '../../common.js';

const app = Fastify({ serverFactory: serverFactory(mesh, { workloadPort }) });
await app.register(enmesh, { mesh });

const cartOf = ({ enmesh: { user } }) => `/carts/${encodeURIComponent(user.subject)}`;

app.get('/cart', (request) => ask('redis', cartOf(request)));
app.post('/cart', async (request) => {
  const items = await ask('redis', cartOf(request));
  const { product, quantity } = request.body;
  return ask('redis', cartOf(request), { method: 'PUT', body: [...items, { product, quantity }] });
});
app.delete('/cart', (request) => ask('redis', cartOf(request), { method: 'DELETE' }));

await mesh.ready();
await app.listen(address);
open(app.server);
