import { once } from 'node:events';
import { connect, createServer } from 'node:tls';
import { describe, expect, it } from 'vitest';
import { createTestAuthority } from '../testing/authority.js';
import { alpnAnswers, isIstioAlpn, selectAlpn } from './alpn.js';

describe('selectAlpn', () => {
  it.each<[readonly string[], string | undefined]>([
    [['istio-http/1.1', 'istio', 'http/1.1'], 'http/1.1'],
    [['istio-peer-exchange', 'istio'], 'istio'],
    [['istio-h2', 'istio', 'h2'], 'istio'],
    [['istio-http/1.1'], 'istio-http/1.1'],
    [['http/1.0'], 'http/1.0'],
    [['h2', 'http/1.1'], 'http/1.1'],
    [['h2'], undefined],
    [['istio-h2', 'h2'], undefined],
    [['HTTP/1.1'], undefined],
    [[], undefined],
  ])('answers %j with %s', (offered, answer) => expect(selectAlpn(offered)).toBe(answer));
});

describe('alpnAnswers', () => {
  it('makes OpenSSL answer as selectAlpn does', async () => {
    const { chain: cert, privateKey } = await (await createTestAuthority()).issue({ namespace: 'shop', serviceAccount: 'stock' });
    const key = privateKey.export({ type: 'pkcs8', format: 'pem' });
    const server = createServer({ key, cert, ALPNProtocols: alpnAnswers }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    const answerTo = (offered: readonly string[]): Promise<string | false | null | undefined> =>
      new Promise((resolve) => {
        // Only the answer to the list is looked at, not who the server is.
        const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: [...offered] });
        socket.on('error', () => resolve(undefined));
        socket.on('secureConnect', () => {
          resolve(socket.alpnProtocol);
          socket.destroy();
        });
      });
    const names = [
      'http/1.1',
      'istio',
      'istio-http/1.1',
      'istio-http/1.0',
      'http/1.0',
      'istio-peer-exchange',
      'h2',
      'smtp',
      'HTTP/1.1',
    ];
    const lists = names.flatMap((first) => names.map((second) => (first === second ? [first] : [first, second])));
    for (const offered of lists) expect([offered, await answerTo(offered)]).toEqual([offered, selectAlpn(offered)]);
    server.close();
  });
});

describe('isIstioAlpn', () => {
  it.each<[readonly string[], boolean]>([
    [['h2', 'istio-peer-exchange'], true],
    [['istio-http/1.0'], true],
    [['ISTIO'], false],
    [['http/1.1', 'h2'], false],
    [[], false],
  ])('is %j -> %s', (offered, is) => expect(isIstioAlpn(offered)).toBe(is));
});
