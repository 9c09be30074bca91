// Confirms orders (Express). Whom to write to is not in the request: it is a claim of the user, which travelled from frontend by way of checkout.
import express from 'express';
import { listen } from '@enmesh/express';
import { address, mesh, open, workloadPort } from '../../common.js';

const app = express().use(express.json());
app.post('/confirmations', (request, response) => {
  const { user, actors } = request.enmesh;
  const carriers = actors.map((uri) => uri.slice(uri.lastIndexOf('/') + 1));
  response.json({ to: user.claims.email, about: request.body.order, carriedBy: carriers });
});

open(await listen(mesh, app, address.port, { host: address.host, workloadPort }));
