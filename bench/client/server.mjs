// The servers that both clients call, in one process: `product`, and an impostor with another SVID of the same mesh. Bare node:https with mutual TLS.
import { constants } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';

const setup = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const body = JSON.stringify({ id: 1, name: 'Table lamp with a rather long name', quantity: 12, warehouse: 'north' });

function open({ key, chain }) {
  const tls = { key, cert: chain, ca: setup.roots, requestCert: true, rejectUnauthorized: true };
  const server = createServer(
    { ...tls, minVersion: 'TLSv1.2', secureOptions: constants.SSL_OP_NO_TICKET },
    (_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length });
      response.end(body);
    },
  );
  server.keepAliveTimeout = 60_000;
  return new Promise((done) => server.listen(0, '127.0.0.1', () => done(server.address().port)));
}

process.on('disconnect', () => process.exit(0));
const [product, impostor] = [await open(setup.product), await open(setup.impostor)];
process.send({ product, impostor });
