import type { IncomingMessage } from 'node:http';
import type { Server, Socket } from 'node:net';
import { deniedEvents, noticeEvents, stepEvents, steps, type Mesh, type RequestEnmesh, type ServerOptions } from '@enmesh/core';
import { createVoice } from '../../packages/core/src/telemetry/voice.js';
import { open } from './house.js';

/** Everything the mesh says of itself: events of every channel, and the lines of the default voice. */
export interface Transcript {
  text(): string;
  stop(): void;
}

/** Begins to write down what is said. Channels are named, so the voice of the sources hears the built packages. */
export function transcribe(): Transcript {
  const said: string[] = [];
  const stops = [
    createVoice({ write: (line) => said.push(line), linesPerSecond: 10_000, burst: 10_000 }),
    ...[deniedEvents, noticeEvents].map((channel) =>
      (channel as typeof deniedEvents).subscribe((event) => said.push(JSON.stringify(event))),
    ),
    // The subject is the request itself, to be compared and not read.
    ...steps.map((step) => stepEvents[step].subscribe(({ subject: _subject, ...event }) => said.push(JSON.stringify(event)))),
  ];
  return { text: () => said.join('\n'), stop: () => stops.forEach((stop) => stop()) };
}

/** What a handler could read of one request that reached it. */
export interface Reached {
  readonly method: string | undefined;
  readonly url: string | undefined;
  readonly headers: NodeJS.Dict<string | string[]>;
  readonly rawHeaders: readonly string[];
  readonly headersDistinct: NodeJS.Dict<string[]>;
  readonly trailers: NodeJS.Dict<string>;
  readonly rawTrailers: readonly string[];
  readonly trailersDistinct: NodeJS.Dict<string[]>;
  readonly body: string;
  readonly peer: string | undefined;
  readonly user: string | undefined;
}

/** Reads a request to its end and notes all that its readers give. */
export async function reachedBy(request: IncomingMessage): Promise<Reached> {
  let body = '';
  for await (const chunk of request) body += String(chunk);
  const { method, url, headers, rawHeaders, headersDistinct, trailers, rawTrailers, trailersDistinct } = request;
  const { enmesh } = request as IncomingMessage & { enmesh?: RequestEnmesh };
  const told = { peer: enmesh?.peer?.uri, user: enmesh?.user?.principal };
  return { method, url, headers, rawHeaders, headersDistinct, trailers, rawTrailers, trailersDistinct, body, ...told };
}

/** A server of the mesh whose handler notes every request that reaches it. */
export interface Witness {
  readonly port: number;
  readonly server: Server;
  readonly reached: Reached[];
}

/** Opens a witness; it ends with its mesh. */
export async function openWitness(mesh: Mesh, options: ServerOptions = {}): Promise<Witness> {
  const reached: Reached[] = [];
  const server = mesh.createServer((request, response) => {
    void reachedBy(request).then(
      (seen) => {
        reached.push(seen);
        response.end(JSON.stringify(seen));
      },
      () => response.destroy(),
    );
  }, options);
  return { port: await open(server), server, reached };
}

/** The statuses of all answers in what a connection received. */
export function statusesIn(bytes: string): number[] {
  return [...bytes.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status]) => Number(status));
}

/** Policies of a port in `mode` that only the gateway may call. */
export const gatewayOnly = (mode: string): string => `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: ${mode}}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: callers, namespace: shop}
spec: {rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/gateway]}}]}]}
`;

/** Policies of a PERMISSIVE port that refuse a path, a method and a host, and allow anything else. */
export const refusals = `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: PERMISSIVE}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: refusals, namespace: shop}
spec:
  action: DENY
  rules:
  - to: [{operation: {paths: ["/private", "/private/*"]}}]
  - to: [{operation: {methods: ["DELETE"]}}]
  - to: [{operation: {hosts: ["admin.shop"]}}]
`;

/** What an Istio sidecar offers. */
export const istioAlpn: readonly string[] = ['istio-http/1.1', 'istio', 'http/1.1'];

/** Writes bytes to a socket and reads it to its end, whatever ends it. */
export function bytesOf(socket: Socket, bytes: string, ends = false): Promise<string> {
  let text = '';
  socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
  socket.on('error', () => {});
  if (bytes !== '') socket.write(bytes, 'latin1');
  if (ends) socket.end();
  return new Promise((done) => socket.on('close', () => done(text)));
}
