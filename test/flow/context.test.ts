import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createHouse, open, send, type House } from '../support/house.js';

const policies = `
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: users, namespace: shop}
spec: {jwtRules: [{issuer: ISSUER, jwks: 'JWKS'}]}
`;

let house: House;
beforeAll(async () => {
  house = await createHouse(policies, { requestContext: true });
});
afterAll(() => house.close());

describe('the context of a request', () => {
  it('is known to everything its handler awaits, and to nothing outside, with many requests interleaved', async () => {
    const port = await open(
      house.mesh.createServer((_request, response) => {
        void (async () => {
          for (let i = 0; i < 5; i++) await new Promise((done) => setTimeout(done, Math.random() * 5));
          response.end(house.mesh.context()?.user?.subject);
        })();
      }),
    );
    expect(house.mesh.context()).toBeUndefined();
    const users = Array.from({ length: 60 }, (_none, i) => `user-${i}`);
    const answers = await Promise.all(
      users.map(
        async (sub) => (await send({ port }, 'GET', '/', [['Authorization', `Bearer ${await house.issuer.sign({ sub })}`]])).body,
      ),
    );
    expect(answers).toEqual(users);
    expect(house.mesh.context()).toBeUndefined();
  });

  it('does not stay behind for the next request of a keep-alive connection', async () => {
    const port = await open(
      house.mesh.createServer(
        (_request, response) => void setImmediate(() => response.end(house.mesh.context()?.user?.subject ?? 'nobody')),
      ),
    );
    const token = await house.issuer.sign({ sub: 'jane' });
    const { connect } = await import('../support/house.js');
    const socket = connect({ port });
    const ask = (headers: string): Promise<string> =>
      new Promise((done) => {
        socket.once('data', (chunk: Buffer) => done(chunk.toString('latin1').split('\r\n\r\n')[1] ?? ''));
        socket.write(`GET / HTTP/1.1\r\nHost: a\r\n${headers}\r\n`);
      });
    expect(await ask(`Authorization: Bearer ${token}\r\n`)).toContain('jane');
    expect(await ask('')).toContain('nobody');
    socket.destroy();
  });

  it('is refused in words where it is not kept', async () => {
    const other = await createHouse(policies);
    expect(() => other.mesh.context()).toThrow(/requestContext: true/);
    await other.close();
  });
});
