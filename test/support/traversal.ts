import { readdirSync, readFileSync } from 'node:fs';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import { join, posix } from 'node:path';
import express5 from 'express';
import express4 from 'express4';
import Fastify from 'fastify';
import type { Mesh } from '@enmesh/core';
import { listen } from '@enmesh/express';
import { serverFactory } from '@enmesh/fastify';
import { open } from './house.js';

/** What only the secret's handler says. */
export const marker = 'marker-of-the-secret';

const files: Readonly<Record<string, string>> = { '/secret/flag': marker, '/public/page': 'a public page' };

/** The secret in the place of the file that a line of the corpus is after, written with the line's own separators. */
function aimAtSecret(line: string): string {
  const aimed = line
    .replace(/\{FILE\}/gi, 'secret/flag')
    .replace(/windows(.{1,30}?)system32.*hosts/i, 'secret$1flag')
    .replace(/etc(.{1,30}?)(?:passwd|issue|shadow|hosts|group)/i, 'secret$1flag')
    .replace(/(?:boot|win)\.ini/i, 'secret/flag');
  if (aimed !== line) return aimed;
  return /[/\\]$/.test(line) ? `${line}secret/flag` : `${line}/../secret/flag`;
}

/** Reads all lines of the corpus; bytes stay as they are, one character each. */
export function readTraversalLines(folder: string): string[] {
  const names = readdirSync(folder).filter((name) => name.endsWith('.txt'));
  return names.flatMap((name) => readFileSync(join(folder, name), 'latin1').replace(/\n$/, '').split('\n'));
}

/** The distinct request targets of the lines: below the public folder, and at the root. */
export function traversalTargets(lines: readonly string[]): string[] {
  const aimed = lines.map((line) => aimAtSecret(line.replace(/\r$/, '')));
  return [...new Set(aimed.flatMap((path) => [`/public/${path}`, path.startsWith('/') ? path : `/${path}`]))];
}

/** How many requests reached a handler of the application. */
export interface Reached {
  count: number;
}

/** A running application. */
export interface Site {
  readonly port: number;
  readonly reached: Reached;
  close(): Promise<void>;
}

/** The content that a path names once it is decoded and resolved, as a server of files does. */
function fileAt(encoded: string): string | undefined {
  try {
    return files[posix.normalize(`/${decodeURIComponent(encoded)}`)];
  } catch {
    return undefined;
  }
}

/** Routes of their own for the secret and for what is public; with `files`, one handler below both that decodes and resolves the rest of the path. */
export type SiteKind = 'routes' | 'files';

const ending = (server: Server): Promise<void> =>
  new Promise((done) => {
    server.close(() => done());
    server.closeAllConnections();
  });

function expressApp(express: typeof express5, everything: string, kind: SiteKind, reached: Reached): express5.Express {
  const app = express();
  app.use((_request, _response, next) => {
    reached.count += 1;
    next();
  });
  const answer = (response: express5.Response, text: string | undefined): void =>
    void (text === undefined ? response.status(404).send('nothing here') : response.send(text));
  if (kind === 'files') app.get(everything, (request, response) => answer(response, fileAt(request.path)));
  app.get('/secret/flag', (_request, response) => answer(response, marker));
  app.get('/secret', (_request, response) => answer(response, marker));
  app.get(`/public${everything}`, (_request, response) => answer(response, files['/public/page']));
  app.use((_error: unknown, _request: express5.Request, response: express5.Response, _next: express5.NextFunction) =>
    answer(response, undefined),
  );
  return app;
}

async function expressSite(app: express5.Express, reached: Reached, mesh: Mesh | undefined): Promise<Site> {
  const server = mesh === undefined ? undefined : await listen(mesh, app, 0, { host: '127.0.0.1' });
  if (server !== undefined) {
    const { port } = server.address() as { port: number };
    return { port, reached, close: () => ending(server as unknown as Server) };
  }
  const { createServer } = await import('node:http');
  const plain = createServer(app as unknown as (request: IncomingMessage, response: ServerResponse) => void);
  return { port: await open(plain), reached, close: () => ending(plain) };
}

async function fastifySite(kind: SiteKind, mesh: Mesh | undefined): Promise<Site> {
  const reached = { count: 0 };
  const app = Fastify({
    forceCloseConnections: true,
    ...(mesh === undefined ? {} : { serverFactory: serverFactory(mesh) as never }),
  });
  app.addHook('onRequest', async () => {
    reached.count += 1;
  });
  if (kind === 'files') {
    app.get('/*', async (request, reply) => {
      const text = fileAt(request.raw.url?.split('?')[0] ?? '');
      return text ?? reply.code(404).send('nothing here');
    });
  }
  app.get('/secret/flag', async () => marker);
  app.get('/secret', async () => marker);
  app.get('/public/*', async (request, reply) => {
    const rest = (request.params as Record<string, string>)['*'] ?? '';
    const text = kind === 'files' ? files[posix.normalize(`/public/${rest}`)] : files['/public/page'];
    return text ?? reply.code(404).send('nothing here');
  });
  await app.listen({ port: 0, host: '127.0.0.1' });
  return { port: (app.server.address() as { port: number }).port, reached, close: async () => void (await app.close()) };
}

/** The same site in each framework, behind the mesh's door or, without a mesh, on a plain server. */
export const sites: Readonly<Record<string, (kind: SiteKind, mesh?: Mesh) => Promise<Site>>> = {
  'Express 4': (kind, mesh) => {
    const reached = { count: 0 };
    return expressSite(expressApp(express4 as unknown as typeof express5, '/*', kind, reached), reached, mesh);
  },
  'Express 5': (kind, mesh) => {
    const reached = { count: 0 };
    return expressSite(expressApp(express5, '/*rest', kind, reached), reached, mesh);
  },
  Fastify: (kind, mesh) => fastifySite(kind, mesh),
};

/** What a run of targets saw. */
export interface TraversalRun {
  /** Targets whose answer held the marker. */
  readonly seen: string[];
  /** Answers by status; 0 stands for a connection that ended without one. */
  readonly statuses: Map<number, number>;
}

/** Asks for every target byte for byte, over a few connections that are kept alive where the server lets them. */
export async function requestAll(port: number, targets: readonly string[]): Promise<TraversalRun> {
  const run: TraversalRun = { seen: [], statuses: new Map() };
  let next = 0;
  const worker = async (): Promise<void> => {
    let socket: Socket | undefined;
    const dial = (): Socket => connect(port, '127.0.0.1').setNoDelay(true);
    while (next < targets.length) {
      const target = targets[next] ?? '/';
      next += 1;
      const used = socket?.writable === true && !socket.destroyed ? socket : undefined;
      socket = used ?? dial();
      let answer = await ask(socket, target);
      // The server was about to close the connection after the answer before: the target was never looked at.
      if (answer.status === 0 && used !== undefined) answer = await ask((socket = dial()), target);
      if (answer.text.includes(marker)) run.seen.push(target);
      run.statuses.set(answer.status, (run.statuses.get(answer.status) ?? 0) + 1);
      if (!answer.reusable) {
        socket.destroy();
        socket = undefined;
      }
    }
    socket?.destroy();
  };
  await Promise.all(Array.from({ length: 8 }, worker));
  return run;
}

interface RawAnswer {
  readonly status: number;
  readonly text: string;
  readonly reusable: boolean;
}

function ask(socket: Socket, target: string): Promise<RawAnswer> {
  return new Promise((done) => {
    let text = '';
    const end = (reusable: boolean): void => {
      socket.removeAllListeners();
      socket.on('error', () => {});
      done({ status: Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? 0), text, reusable });
    };
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      const head = text.indexOf('\r\n\r\n');
      const length = Number(/\r\ncontent-length: *(\d+)/i.exec(text.slice(0, head))?.[1] ?? -1);
      if (head !== -1 && length !== -1 && text.length >= head + 4 + length)
        end(!/\r\nconnection: *close/i.test(text.slice(0, head)));
    });
    socket.on('error', () => end(false));
    socket.on('close', () => end(false));
    socket.write(`GET ${target} HTTP/1.1\r\nHost: product.shop\r\n\r\n`, 'latin1');
  });
}
