// The gateway: takes requests of users and asks product and stock at the same time. Plain http:// URLs; mutual TLS is the mesh's business.
import express from 'express';
import { createMesh } from '@enmesh/core';
import { listen } from '@enmesh/express';
import { announce, giveUp, stopOnSignals, wordsOf } from '../../platform/service.js';

const mesh = await createMesh().catch(giveUp);
const { request: call } = mesh;

/** Asks another service: its JSON, undefined when it has none; throws when it refuses or cannot be reached. */
async function ask(url) {
  const { statusCode, body } = await call(url);
  if (statusCode === 404) return void (await body.dump());
  if (statusCode !== 200) {
    await body.dump();
    throw new Error(`${url} answered ${statusCode}`);
  }
  return body.json();
}

const app = express();
app.use((request, response, next) => {
  response.set('x-shop-decision', wordsOf(request.enmesh.decision));
  next();
});
app.get('/healthz', (_request, response) => void response.json({ status: 'ok' }));

app.get('/products/:id', async (request, response) => {
  const id = encodeURIComponent(request.params.id);
  try {
    const [product, stock] = await Promise.all([
      ask(`http://product.shop.svc.cluster.local/products/${id}`),
      ask(`http://stock.shop.svc.cluster.local/stocks?productId=${id}`),
    ]);
    if (product === undefined || stock === undefined) return void response.status(404).json({ error: 'not found' });
    response.json({ id: product.id, name: product.name, quantity: stock.quantity });
  } catch (error) {
    response.status(502).json({ error: 'a service of the shop refused or failed', code: error.code ?? error.cause?.code });
  }
});

// Who the user is: the verified payload that RequestAuthentication put there, what the mesh knows, and what product gets of this very request.
app.get('/whoami', async (request, response) => {
  const payload = request.headers['sec-istio-auth-userinfo'];
  const claims = payload === undefined ? null : JSON.parse(Buffer.from(payload, 'base64url').toString());
  const atProduct = await ask('http://product.shop.svc.cluster.local/debug/call');
  const user = request.enmesh.user?.principal ?? null;
  response.json({ user, claims, authorization: request.headers.authorization ?? null, atProduct });
});

// A correction of the stock, in the name of the administrator who asks for it: nothing of the user is passed on here, the mesh does that.
app.post('/admin/corrections', async (_request, response) => {
  const { statusCode, headers, body } = await call('http://stock.shop.svc.cluster.local/corrections', { method: 'POST' });
  if (statusCode !== 200) {
    await body.dump();
    return void response.status(statusCode).json({ error: 'stock refused', status: statusCode });
  }
  response.set('x-shop-stock', headers['x-shop-decision']);
  response.json(await body.json());
});
app.get('/admin/report', (_request, response) => void response.json({ report: 'all quiet' }));
app.all('/orders', (request, response) => void response.json({ method: request.method, accepted: true }));

try {
  const port = Number(process.env.GATEWAY_PORT ?? 8080);
  const server = await listen(mesh, app, port, { host: '127.0.0.1', workloadPort: 8080 });
  announce('gateway', server, mesh, 8080);
  stopOnSignals(mesh);
} catch (error) {
  giveUp(error);
}
