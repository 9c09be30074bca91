// The shop as users see it (Express). The only service with a port for users, and the only one that ever holds a token of theirs.
import express from 'express';
import { listen } from '@enmesh/express';
import { address, ask, mesh, open, workloadPort } from '../../common.js';

const app = express().use(express.json());
app.get('/healthz', (_request, response) => void response.json({ status: 'ok' }));

app.get('/', async (_request, response) => {
  const [products, { ad }, { recommended }] = await Promise.all([
    ask('productcatalog', '/products'),
    ask('ad', '/ads'),
    ask('recommendation', '/recommendations'),
  ]);
  response.json({ products: products.length, ad, recommended });
});

app.get('/product/:id', async (request, response) => {
  const { id, name, usd } = await ask('productcatalog', `/products/${encodeURIComponent(request.params.id)}`);
  const { amount } = await ask('currency', `/convert?usd=${usd}&to=EUR`);
  response.json({ id, name, eur: amount });
});

app.get('/cart', async (_request, response) => {
  const cart = await ask('cart', '/cart');
  const { usd } = await ask('shipping', `/quote?items=${cart.length}`);
  response.json({ cart, shippingUsd: usd });
});
app.post(
  '/cart',
  async (request, response) => void response.json(await ask('cart', '/cart', { method: 'POST', body: request.body })),
);
app.post('/checkout', async (_request, response) => {
  response.json(await ask('checkout', '/orders', { method: 'POST', body: { currency: 'EUR' } }));
});

// What is being tried out, for testers who ask for it. The header goes on by hand, the user and the claim by themselves.
app.get('/canary', async (request, response) => {
  response.json(await ask('recommendation', '/canary', { headers: { 'x-version': request.get('x-version') } }));
});

app.use((error, _request, response, _next) => {
  response.status(error.statusCode ?? 502).json({ error: error.statusCode ? error.message : (error.code ?? error.name) });
});
open(await listen(mesh, app, address.port, { host: address.host, workloadPort }));
