// The product service: an ordinary Express application. What it knows of the mesh is three lines.
import express from 'express';
import { createMesh } from '@enmesh/core';
import { listen } from '@enmesh/express';
import { announce, giveUp, stopOnSignals, wordsOf } from '../../platform/service.js';

const products = new Map([
  ['1', { id: '1', name: 'Table lamp' }],
  ['2', { id: '2', name: 'Desk chair' }],
  ['draft-3', { id: 'draft-3', name: 'Standing desk' }],
]);

const app = express();
app.use((request, response, next) => {
  response.set('x-shop-decision', wordsOf(request.enmesh.decision));
  next();
});
app.get('/products/:id', (request, response) => {
  const product = products.get(request.params.id);
  if (product === undefined) return void response.status(404).json({ error: 'no such product' });
  response.json(product);
});
// What a call looks like from here, for the walk: who calls, by which certificate, and which headers arrived.
app.get('/debug/call', (request, response) => {
  const { peer } = request.enmesh;
  const { headers, rawHeaders } = request;
  response.json({ peer: peer?.principal ?? null, certificate: peer?.certificateSha256, headers, rawHeaders });
});

try {
  const mesh = await createMesh();
  const port = Number(process.env.PRODUCT_PORT ?? 9081);
  const server = await listen(mesh, app, port, { host: '127.0.0.1', workloadPort: 9080 });
  announce('product', server, mesh, 9080);
  stopOnSignals(mesh);
} catch (error) {
  giveUp(error);
}
