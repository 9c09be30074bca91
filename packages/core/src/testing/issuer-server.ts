import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/**
 * What a JWKS server can do wrong: answer with HTML, redirect (within the origin, for ever, to another origin), never answer, drip, fail,
 * send 2 MiB, compress, or send JSON that is no key set.
 */
export type Misbehaviour =
  | 'html'
  | 'redirect-once'
  | 'redirect-loop'
  | 'redirect-away'
  | 'silent'
  | 'drip'
  | 'error'
  | 'huge'
  | 'compressed'
  | 'not-a-key-set';

/** A running JWKS server. */
export interface IssuerServer {
  /** Of the key set, to be used as `jwksUri`. */
  readonly uri: string;
  /** Of the server: an issuer whose discovery document leads to the key set. */
  readonly origin: string;
  /** How often the key set was asked for. */
  readonly requests: number;
  misbehave(how: Misbehaviour | undefined): void;
  close(): Promise<void>;
}

/** Serves a key set over http on 127.0.0.1, on a free port; `text` is asked at each request. */
export async function serveIssuer(text: () => string): Promise<IssuerServer> {
  let requests = 0;
  let how: Misbehaviour | undefined;
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://issuer.invalid');
    if (pathname === '/.well-known/openid-configuration') {
      response.setHeader('content-type', 'application/json').end(JSON.stringify({ jwks_uri: `${origin}/jwks.json` }));
      return;
    }
    requests++;
    if (how !== undefined && pathname === '/jwks.json') misbehaviours[how](response, text());
    else if (how === 'redirect-loop') misbehaviours[how](response, text());
    else response.setHeader('content-type', 'application/json').end(text());
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    uri: `${origin}/jwks.json`,
    origin,
    get requests() {
      return requests;
    },
    misbehave(next) {
      how = next;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

const redirect = (response: ServerResponse, location: string): void => void response.writeHead(302, { location }).end();

const misbehaviours: Readonly<Record<Misbehaviour, (response: ServerResponse, text: string) => void>> = {
  html: (response) => void response.setHeader('content-type', 'text/html').end('<!doctype html><title>Sign in</title>'),
  'redirect-once': (response) => redirect(response, '/elsewhere.json'),
  'redirect-loop': (response) => redirect(response, '/again.json'),
  'redirect-away': (response) => redirect(response, 'http://localhost:1/jwks.json'),
  silent: () => {},
  drip: (response) => {
    const timer = setInterval(() => response.write(' '), 10);
    response.on('close', () => clearInterval(timer));
  },
  error: (response) => void response.writeHead(500).end(),
  huge: (response) =>
    void response.setHeader('content-type', 'application/json').end(`{"keys":[${' '.repeat(2 * 1024 * 1024)}]}`),
  compressed: (response, text) => void response.writeHead(200, { 'content-encoding': 'gzip' }).end(text),
  'not-a-key-set': (response) => void response.setHeader('content-type', 'application/json').end('{"error":"no keys here"}'),
};
