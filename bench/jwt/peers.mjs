// What verifies tokens in other stacks, each called at its own leanest door, with its cache on where it has one.
import { createServer } from 'node:http';
import fastifyJwt from '@fastify/jwt';
import { expressjwt } from 'express-jwt';
import { auth } from 'express-oauth2-jwt-bearer';
import fastify from 'fastify';
import { createLocalJWKSet, jwtVerify } from 'jose';
import jwksRsa from 'jwks-rsa';
import { names } from './tokens.mjs';

const tokenOf = (line) => line.slice('Bearer '.length);

function createJose({ jwks }) {
  const keys = createLocalJWKSet(jwks);
  return (line) => jwtVerify(tokenOf(line), keys, names);
}

async function createFastifyJwt({ publicKey, privateKey, alg }) {
  const app = fastify();
  const pem = (key, type) => key.export({ type, format: 'pem' });
  const secret = { public: pem(publicKey, 'spki'), private: pem(privateKey, 'pkcs8') };
  const verify = { algorithms: [alg], allowedIss: names.issuer, allowedAud: names.audience, cache: 10_000 };
  await app.register(fastifyJwt, { secret, sign: { algorithm: alg }, verify });
  return async (line) => app.jwt.verify(tokenOf(line));
}

/** A middleware of Express as Express calls it, without Express around. */
const called = (middleware) => (line) =>
  new Promise((done, fail) => {
    const headers = { host: 'shop.example', authorization: line };
    const request = { method: 'GET', protocol: 'https', headers, query: {}, url: '/', originalUrl: '/', is: () => false };
    request.get = (name) => headers[name.toLowerCase()];
    const next = (error) => (error ? fail(error) : done());
    const result = middleware(request, { setHeader() {}, set() {} }, next);
    result?.catch?.(fail);
  });

/** Peers by name, each a function of one Authorization line that rejects a bad token; and how to stop what serves their keys. */
export async function createPeers(issuer) {
  const server = createServer((_, response) => {
    response.setHeader('content-type', 'application/json').end(JSON.stringify(issuer.jwks));
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const jwksUri = `http://127.0.0.1:${server.address().port}/jwks`;
  const keyOf = jwksRsa.expressJwtSecret({ jwksUri, cache: true, rateLimit: false });
  return {
    peers: {
      jose: createJose(issuer),
      '@fastify/jwt': await createFastifyJwt(issuer),
      'express-oauth2-jwt-bearer': called(auth({ ...names, jwksUri, tokenSigningAlg: issuer.alg })),
      'express-jwt + jwks-rsa': called(expressjwt({ secret: keyOf, algorithms: [issuer.alg], ...names })),
    },
    close: () => new Promise((done) => (server.close(done), server.closeAllConnections())),
  };
}
