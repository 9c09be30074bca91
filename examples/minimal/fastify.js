import Fastify from 'fastify';
import { createMesh } from '@enmesh/core'; // 1
import { serverFactory } from '@enmesh/fastify'; // 2

const app = Fastify({ serverFactory: serverFactory(await createMesh()) }); // 3
app.get('/hello', (request) => `hello ${request.raw.enmesh.peer?.principal ?? 'stranger'}\n`);

await app.listen({ port: Number(process.env.PORT ?? 8080) });
