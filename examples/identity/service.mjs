// One service for every place: ENMESH_FILE names the file beside this one that fits, such as laptop.yaml or spire.yaml.
import { createMesh } from '@enmesh/core';

const mesh = await createMesh();
await mesh.ready();
const server = mesh.createServer((request, response) => response.end(`hello ${request.enmesh.peer?.uri ?? 'stranger'}\n`));
server.listen(Number(process.env.PORT ?? 8080), () => {
  console.log(`${mesh.workload.spiffeId} listens on ${server.address().port}`);
});
process.once('SIGTERM', () => void mesh.close());
