// The example's identity provider: one key pair, its public half as a key set on /jwks, and tokens for whoever asks on /token. Loopback only, and
// only for this example: a real one asks for a password first.
import { createServer } from 'node:http';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';

const issuer = 'https://idp.shop.example';
const { publicKey, privateKey } = await generateKeyPair('ES256');
const keySet = JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid: 'shop-1', alg: 'ES256', use: 'sig' }] });

/** `/token?sub=alice&groups=admin,staff&aud=shop&expires=3600`; `expires` is in seconds from now and may be negative. */
function mint(query) {
  const now = Math.floor(Date.now() / 1000);
  const groups = query.get('groups')?.split(',').filter(Boolean) ?? [];
  const expires = Number(query.get('expires') ?? 3600);
  if (!Number.isInteger(expires)) throw new TypeError('expires must be a whole number of seconds');
  return new SignJWT(groups.length === 0 ? {} : { groups })
    .setProtectedHeader({ alg: 'ES256', kid: 'shop-1', typ: 'JWT' })
    .setIssuer(query.get('iss') ?? issuer)
    .setSubject(query.get('sub') ?? 'alice')
    .setAudience(query.get('aud') ?? 'shop')
    .setIssuedAt(Math.min(now, now + expires - 1))
    .setExpirationTime(now + expires)
    .sign(privateKey);
}

const server = createServer(async (request, response) => {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://idp');
  try {
    if (pathname === '/jwks') return void response.setHeader('content-type', 'application/jwk-set+json').end(keySet);
    if (pathname === '/token') return void response.setHeader('content-type', 'text/plain').end(await mint(searchParams));
    response.writeHead(404).end();
  } catch (error) {
    response.writeHead(400).end(String(error.message));
  }
});
server.on('error', (error) => {
  console.error(`the identity provider cannot listen: ${error.message}`);
  process.exit(1);
});
server.listen(Number(process.env.IDP_PORT ?? 0), '127.0.0.1', () => {
  const { address, port } = server.address();
  const at = `http://${address}:${port}`;
  console.log(
    JSON.stringify({
      service: 'idp',
      ready: true,
      address: at,
      port,
      jwks: `${at}/jwks`,
      token: `${at}/token`,
      pid: process.pid,
    }),
  );
});

const stop = () => process.exit(0);
process.on('SIGTERM', stop);
process.on('SIGINT', stop);
if (process.channel !== undefined) process.on('disconnect', stop);
