// The product service: an ordinary Express application. What it knows of the mesh is three lines.
import express from 'express';
import { createMesh } from '@enmesh/core';
import { listen } from '@enmesh/express';
import { announce, stopOnSignals } from '../service.js';

const products = new Map([
  ['1', { id: '1', name: 'Table lamp' }],
  ['2', { id: '2', name: 'Desk chair' }],
]);

const app = express();
app.get('/products/:id', (request, response) => {
  const product = products.get(request.params.id);
  if (product === undefined) return void response.status(404).json({ error: 'no such product' });
  response.json(product);
});
// What a caller's headers look like from here, for the walk: the user's token never arrives.
app.get(
  '/debug/headers',
  (request, response) => void response.json({ headers: request.headers, rawHeaders: request.rawHeaders }),
);

const mesh = await createMesh();
const server = await listen(mesh, app, Number(process.env.PRODUCT_PORT ?? 0), { host: '127.0.0.1', workloadPort: 9080 });
announce('product', server, mesh);
stopOnSignals(mesh);
