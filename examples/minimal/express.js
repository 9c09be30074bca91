import express from 'express';
import { createMesh } from '@enmesh/core'; // 1
import { listen } from '@enmesh/express'; // 2

const app = express();
app.get('/hello', (req, res) => res.send(`hello ${req.enmesh.peer?.principal ?? 'stranger'}\n`));

await listen(await createMesh(), app, Number(process.env.PORT ?? 8080)); // 3, in place of app.listen(...)
