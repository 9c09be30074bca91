import type { IncomingMessage } from 'node:http';
import { createServer } from 'node:http';
import type { Server } from 'node:net';
import express5 from 'express';
import express4 from 'express4';
import Fastify from 'fastify';
import type { Mesh, RequestEnmesh } from '@enmesh/core';
import { enmesh as expressMiddleware, listen } from '@enmesh/express';
import { enmesh as fastifyPlugin, serverFactory } from '@enmesh/fastify';
import { open } from './house.js';

/** What every test application answers: all that its handler could read of the request. */
export interface Seen {
  readonly route: string;
  readonly url: string;
  readonly headers: Record<string, string>;
  readonly rawHeaders: string[];
  readonly headersDistinct: Record<string, string[]>;
  readonly peer: string | undefined;
  readonly user: string | undefined;
  readonly body: string;
}

/** One application in one form; `port` is where it listens. */
export interface Application {
  readonly port: number;
  close(): Promise<void>;
}

/** The routes of every test application; everything else is 404. */
export const routes = ['/public', '/private', '/echo'] as const;

async function seenBy(request: IncomingMessage, route: string): Promise<string> {
  let body = '';
  for await (const chunk of request) body += String(chunk);
  const { url, headers, rawHeaders, headersDistinct } = request;
  const { enmesh } = request as IncomingMessage & { enmesh: RequestEnmesh };
  return JSON.stringify({
    route,
    url,
    headers,
    rawHeaders,
    headersDistinct,
    peer: enmesh.peer?.uri,
    user: enmesh.user?.principal,
    body,
  });
}

const bare = (request: IncomingMessage, response: import('node:http').ServerResponse): void => {
  const route = routes.find((one) => one === (request.url ?? '').split('?')[0]);
  if (route === undefined) return void response.writeHead(404).end();
  void seenBy(request, route).then((text) => response.end(text));
};

function expressApp(express: typeof express5, mesh?: Mesh): express5.Express {
  const app = express();
  if (mesh !== undefined) app.use(expressMiddleware(mesh));
  for (const route of routes)
    app.all(route, (request, response) => void seenBy(request, route).then((text) => response.end(text)));
  return app;
}

async function fastifyApp(mesh: Mesh, door: boolean): Promise<Application> {
  const app = Fastify(door ? { serverFactory: serverFactory(mesh) as never } : {});
  await app.register(fastifyPlugin, { mesh });
  app.addContentTypeParser('*', (_request, _payload, done) => done(null));
  for (const route of routes) app.all(route, async (request) => seenBy(request.raw, route));
  await app.listen({ port: 0, host: '127.0.0.1' });
  return { port: (app.server.address() as { port: number }).port, close: async () => void (await app.close()) };
}

const ended =
  (server: Server): Application['close'] =>
  () =>
    new Promise((done) => void server.close(() => done()));

async function own(server: Server): Promise<Application> {
  return { port: await open(server), close: ended(server) };
}

async function listening(mesh: Mesh, app: express5.Express): Promise<Application> {
  const server = await listen(mesh, app, 0, { host: '127.0.0.1' });
  return { port: (server.address() as { port: number }).port, close: ended(server) };
}

const express4as5 = express4 as unknown as typeof express5;

/** The three frameworks at the door; one test body runs on all of them. */
export const doors: Record<string, (mesh: Mesh) => Promise<Application>> = {
  node: (mesh) => own(mesh.createServer(bare)),
  'Express 5': (mesh) => listening(mesh, expressApp(express5)),
  'Express 5 with its middleware': (mesh) => listening(mesh, expressApp(express5, mesh)),
  'Express 4': (mesh) => listening(mesh, expressApp(express4as5)),
  Fastify: (mesh) => fastifyApp(mesh, true),
};

/** The middleware form: the application owns a plain server. */
export const middlewares: Record<string, (mesh: Mesh) => Promise<Application>> = {
  'Express 5': (mesh) => own(createServer(expressApp(express5, mesh))),
  'Express 4': (mesh) => own(createServer(expressApp(express4as5, mesh))),
  Fastify: (mesh) => fastifyApp(mesh, false),
};
