import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { MeshSnapshot } from '../config/snapshot.js';
import { EnmeshError } from '../errors.js';
import type { KeySetStatus } from '../jwt/key-sets.js';
import { metricsContentType } from '../telemetry/metrics.js';
import { createDecisionRing, type DecisionRing } from './decisions.js';
import { describeMesh } from './describe.js';

/** The admin listener of a mesh. */
export interface Admin {
  /** The port it listens on, on 127.0.0.1. */
  readonly port: number;
  close(): Promise<void>;
}

/** What the admin listener tells of; `port` 0 is a free one. */
export interface AdminOptions {
  readonly port: number;
  readonly snapshot: () => MeshSnapshot;
  /** The text of `/metrics`. */
  readonly metrics: () => string;
  /** How the fetched key sets stand; default none. */
  readonly keySets?: () => readonly KeySetStatus[];
  readonly clock: () => number;
}

/**
 * Opens the admin listener on 127.0.0.1, for `enmesh describe` and `enmesh explain`: `/describe` is the snapshot in force, `/key-sets` how the fetched key
 * sets stand, `/decisions/<id>` one of the last 1 000 denials, `/metrics` counts and gauges in Prometheus' text format. It only reads. Every process of
 * this machine may ask, so it is off unless `adminPort` is given; pages of a browser may not. Rejects with `ENMESH_MESH_PORT`.
 */
export async function openAdmin(options: AdminOptions): Promise<Admin> {
  const ring = createDecisionRing(options);
  const server = createServer(
    { maxHeaderSize: 4096, requestTimeout: 5000, headersTimeout: 5000, keepAliveTimeout: 1000 },
    (request, response) => answer(request, response, options, ring),
  );
  server.maxConnections = 16;
  try {
    await listen(server, options.port);
  } catch (error) {
    ring.close();
    throw error;
  }
  server.unref();
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      ring.close();
      await new Promise<void>((done) => {
        server.close(() => done());
        server.closeAllConnections();
      });
    },
  };
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((done, fail) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const message = `the admin port ${port} cannot be opened (${cause.code ?? 'unknown reason'})`;
      fail(new EnmeshError('ENMESH_MESH_PORT', message, { cause }));
    });
    server.listen(port, '127.0.0.1', done);
  });
}

function answer(request: IncomingMessage, response: ServerResponse, options: AdminOptions, ring: DecisionRing): void {
  const sendText = (status: number, type: string, body: string): void => {
    response.writeHead(status, {
      'content-type': type,
      'content-length': Buffer.byteLength(body),
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
    });
    response.end(request.method === 'HEAD' ? undefined : body);
  };
  const send = (status: number, value: object): void => sendText(status, 'application/json', `${JSON.stringify(value)}\n`);
  try {
    // A name that leads here through somebody's DNS, or a page of a browser, is not who this is for.
    if (!isLocal(request.headers.host) || request.headers.origin !== undefined) return send(403, { error: 'not for browsers' });
    if (request.method !== 'GET' && request.method !== 'HEAD') return send(405, { error: 'GET only' });
    if (request.url === '/describe') return send(200, describeMesh(options.snapshot()));
    if (request.url === '/key-sets') return send(200, { keySets: options.keySets?.() ?? [] });
    if (request.url === '/metrics') return sendText(200, metricsContentType, options.metrics());
    const id = /^\/decisions\/([0-9a-f]{1,64})$/.exec(request.url ?? '')?.[1];
    const decision = id === undefined ? undefined : ring.find(id);
    return decision === undefined ? send(404, { error: 'unknown' }) : send(200, decision);
  } catch {
    send(500, { error: 'it cannot be told' });
  }
}

function isLocal(host: string | undefined): boolean {
  return host !== undefined && /^(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/i.test(host);
}
