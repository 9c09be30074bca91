// What there is to buy (Express).
import express from 'express';
import { listen } from '@enmesh/express';
import { address, mesh, open, workloadPort } from '../../common.js';

const products = new Map(
  [
    { id: 'sunglasses', name: 'Sunglasses', usd: 19.99 },
    { id: 'tank-top', name: 'Tank Top', usd: 18.99 },
    { id: 'watch', name: 'Watch', usd: 109.99 },
    { id: 'mug', name: 'Mug', usd: 8.99 },
  ].map((product) => [product.id, product]),
);

const app = express();
app.get('/products', (_request, response) => void response.json([...products.values()]));
app.get('/products/:id', (request, response) => {
  const product = products.get(request.params.id);
  response.status(product === undefined ? 404 : 200).json(product ?? { error: 'no such product' });
});
// The insides of the process: a DENY in ../../mesh/browsing.yaml keeps everybody out, whatever spelling Express would route here.
app.get('/debug/vars', (_request, response) => void response.json(process.memoryUsage()));

open(await listen(mesh, app, address.port, { host: address.host, workloadPort }));
