// What sending costs, and sending (Fastify).
import Fastify from 'fastify';
import { serverFactory } from '@enmesh/fastify';
import { address, mesh, open, workloadPort } from '../../common.js';

const app = Fastify({ serverFactory: serverFactory(mesh, { workloadPort }) });

app.get('/quote', async (request) => ({ usd: request.query.items === '0' ? 0 : 8.99 }));
app.post('/shipments', async (request) => ({ tracking: `track-${request.body.items.length}-parcels` }));

await mesh.ready();
await app.listen(address);
open(app.server);
