// Loaded into a service before its own code (node --import), as a dependency gone bad would be: takes down every hop token that arrives, before the door
// removes it. Nothing in a process keeps its own code from that; what a hop token promises is that the loot is of no use.
import { subscribe } from 'node:diagnostics_channel';

subscribe('http.server.request.start', ({ request }) => {
  const token = request.headers['enmesh-hop-token'];
  if (token !== undefined && process.connected) process.send({ kind: 'stolen', token });
});
