// @enmesh/express as an Express service uses it; compiled by `npm run types`, never run.
import express, { type Request } from 'express';
import { createMesh, type MeshServer, type RequestEnmesh } from '@enmesh/core';
import { enmesh, listen } from '@enmesh/express';

export async function service(): Promise<MeshServer> {
  const mesh = await createMesh();
  const app = express();
  app.use(enmesh(mesh));
  app.get('/', (req: Request, res) => {
    const seen: RequestEnmesh = req.enmesh;
    // @ts-expect-error what was decided is not to be changed
    req.enmesh.decision = seen.decision;
    res.json({ caller: req.enmesh.peer?.principal, user: req.enmesh.user?.subject });
  });
  // @ts-expect-error an option that does not exist
  await listen(mesh, app, 8080, { hostname: '127.0.0.1' });
  return listen(mesh, app, 8080, { host: '127.0.0.1', workloadPort: 80, probePort: 9090 });
}
