// A process with a real certificate of the mesh, but of another service account, that waits for the calls of others and records what reaches it.
import { createMesh } from '@enmesh/core';
import { giveUp, stopOnSignals } from '../../platform/service.js';

const mesh = await createMesh().catch(giveUp);
await mesh.ready();

let connections = 0;
let requests = 0;
const secured = [];
const server = mesh.createServer(
  (_request, response) => {
    requests += 1;
    response.setHeader('content-type', 'application/json').end(JSON.stringify({ id: '1', name: 'Counterfeit lamp' }));
  },
  { workloadPort: 9080 },
);
server.on('connection', () => (connections += 1));
// On a TLS socket Node counts the bytes after decryption: those of requests, not of handshakes.
server.on('secureConnection', (socket) => secured.push(socket));

process.on('message', ({ id }) => {
  const requestBytes = secured.reduce((sum, { bytesRead }) => sum + bytesRead, 0);
  process.send({ id, connections, requests, requestBytes });
});
server.listen(0, '127.0.0.1', () => {
  const { port } = server.address();
  console.log(JSON.stringify({ service: 'impostor', ready: true, port, identity: mesh.workload.spiffeId }));
});
stopOnSignals(mesh);
