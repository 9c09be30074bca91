// Places orders (Fastify): asks six services, three of them in the name of the user who asked frontend.
import Fastify from 'fastify';
import { enmesh, serverFactory } from '@enmesh/fastify';
import { address, ask, mesh, open, workloadPort } from '../../common.js';

const app = Fastify({ serverFactory: serverFactory(mesh, { workloadPort }) });
await app.register(enmesh, { mesh });

app.post('/orders', async (request, reply) => {
  const items = await ask('cart', '/cart');
  if (items.length === 0) return reply.code(409).send({ error: 'the cart is empty' });
  const products = await Promise.all(
    items.map(({ product }) => ask('productcatalog', `/products/${encodeURIComponent(product)}`)),
  );
  const { usd: shipping } = await ask('shipping', `/quote?items=${items.length}`);
  const usd = products.reduce((sum, product, at) => sum + product.usd * items[at].quantity, shipping);
  const { amount } = await ask('currency', `/convert?usd=${usd.toFixed(2)}&to=${encodeURIComponent(request.body.currency)}`);

  const order = `order-${Date.now()}`;
  const { charge } = await ask('payment', '/charges', { method: 'POST', body: { order, amount } });
  const { tracking } = await ask('shipping', '/shipments', { method: 'POST', body: { order, items } });
  await ask('cart', '/cart', { method: 'DELETE' });
  const confirmation = await ask('email', '/confirmations', { method: 'POST', body: { order } });
  return { amount, charge, tracking, confirmation: confirmation.to, carriedBy: confirmation.carriedBy };
});

await mesh.ready();
await app.listen(address);
open(app.server);
