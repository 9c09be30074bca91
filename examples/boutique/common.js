// What the eleven services share: joining the mesh, being found, and asking each other. Plain http:// URLs; mutual TLS is the mesh's business.
import { json } from 'node:stream/consumers';
import { createMesh } from '@enmesh/core';
import { announce, giveUp, stopOnSignals } from '../platform/service.js';

export const mesh = await createMesh().catch(giveUp);
stopOnSignals(mesh);

/** The port that policies speak of. The real one is whichever was free; `open` tells the starter, and the starter the registry. */
export const workloadPort = 8080;
export const address = { host: '127.0.0.1', port: 0 };
export const open = (server) => announce(mesh.workload.serviceAccount, server, mesh, workloadPort);

/** Asks another service and gives its JSON. The user whose request is being handled travels by himself, where a TokenPropagation says so. */
export async function ask(service, path, { method = 'GET', headers = {}, body } = {}) {
  const answer = await mesh.request(`http://${service}.boutique.svc.cluster.local${path}`, {
    method,
    headers: { ...headers, ...(body !== undefined && { 'content-type': 'application/json' }) },
    body: JSON.stringify(body),
  });
  if (answer.statusCode === 200) return answer.body.json();
  await answer.body.dump();
  throw Object.assign(new Error(`${service} answered ${answer.statusCode}`), { statusCode: 502 });
}

/** A listener for node:http of a function from a request to what is answered as JSON; undefined is 404. A service without a framework needs no more. */
export const answering = (handle) => async (request, response) => {
  response.setHeader('content-type', 'application/json');
  try {
    const { pathname, searchParams } = new URL(request.url, 'http://service');
    const body = ['POST', 'PUT'].includes(request.method) ? await json(request) : undefined;
    const found = handle({ route: `${request.method} ${pathname}`, query: searchParams, body, user: request.enmesh.user });
    response.writeHead(found === undefined ? 404 : 200).end(JSON.stringify(found ?? { error: 'not found' }));
  } catch (error) {
    response.writeHead(400).end(JSON.stringify({ error: error.message }));
  }
};

/** The same for a service without a framework that is complete: opens it. */
export async function serve(handle) {
  const server = mesh.createServer(answering(handle), { workloadPort });
  await mesh.ready();
  server.listen(address, () => open(server));
}
