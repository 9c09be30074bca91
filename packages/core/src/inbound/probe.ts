import { createServer, type Server } from 'node:http';
import type { IncomingMessage } from 'node:http';

const probes = new WeakSet<object>();

/** Whether a request belongs to a probe listener, which answers nothing but health. */
export function isProbeRequest(request: IncomingMessage): boolean {
  return probes.has(request);
}

/**
 * Creates the plain listener for kubelets and load balancers, which have no certificate. It answers `/livez` (the process turns) and
 * `/readyz` (identity held, configuration good, not closing) with 200 or 503, and anything else with 404: no application code is reached.
 */
export function createProbe(isReady: () => boolean): Server {
  const server = createServer(
    { maxHeaderSize: 4096, requestTimeout: 5000, headersTimeout: 5000, keepAliveTimeout: 5000 },
    (request, response) => {
      probes.add(request);
      const ready = request.url === '/readyz';
      const known = ready || request.url === '/livez';
      const status = request.method !== 'GET' && request.method !== 'HEAD' ? 405 : !known ? 404 : ready && !isReady() ? 503 : 200;
      const body = status === 200 ? 'ok\n' : status === 503 ? 'not ready\n' : '';
      response.writeHead(status, { 'content-type': 'text/plain', 'content-length': Buffer.byteLength(body) });
      response.end(body);
    },
  );
  server.maxConnections = 64;
  return server;
}
