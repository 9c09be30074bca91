// A process of the mesh that calls what it is told to, as the service account in its environment. It knows plain http:// URLs, nothing else.
import { createMesh } from '@enmesh/core';
import { giveUp, stopOnSignals } from '../../platform/service.js';

const mesh = await createMesh().catch(giveUp);
await mesh.ready();

async function call({ url, method, headers }) {
  try {
    const { statusCode, headers: answered, body } = await mesh.request(url, { method, headers });
    return { status: statusCode, headers: answered, body: await body.text() };
  } catch (error) {
    return { status: 0, headers: {}, body: '', code: error.code ?? error.name };
  }
}

process.on('message', async ({ id, ...request }) => process.send({ id, ...(await call(request)) }));
stopOnSignals(mesh);
console.log(JSON.stringify({ service: 'caller', ready: true, identity: mesh.workload.spiffeId }));
