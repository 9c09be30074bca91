import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openWitness, refusals, statusesIn, type Witness } from '../../support/attack.js';
import { connect, createHouse, send, sendRaw, type House } from '../../support/house.js';

let house: House;
let witness: Witness;
beforeAll(async () => {
  house = await createHouse(refusals);
  witness = await openWitness(house.mesh);
});
afterAll(() => house.close());

describe('rule 12: one request is one request', () => {
  const inner = 'GET /private HTTP/1.1\r\nHost: a\r\n\r\n';
  const head = (lines: string): string => `POST /outer HTTP/1.1\r\nHost: a\r\n${lines}\r\n\r\n`;
  const chunked = `0\r\n\r\n${inner}`;
  it.each([
    ['Content-Length and Transfer-Encoding', head(`Content-Length: ${chunked.length}\r\nTransfer-Encoding: chunked`) + chunked],
    ['Transfer-Encoding and Content-Length', head(`Transfer-Encoding: chunked\r\nContent-Length: 5`) + chunked],
    ['two Content-Lengths', head(`Content-Length: 0\r\nContent-Length: ${inner.length}`) + inner],
    ['a list of Content-Lengths', head(`Content-Length: 0, ${inner.length}`) + inner],
    ['a signed Content-Length', head(`Content-Length: +0`) + inner],
    ['a hexadecimal Content-Length', head(`Content-Length: 0x10`) + inner],
    ['a blank inside a Content-Length', head(`Content-Length: 0 0`) + inner],
    ['a Content-Length name with a blank', head(`Content-Length : 0`) + inner],
    ['Transfer-Encoding: xchunked', head(`Transfer-Encoding: xchunked\r\nContent-Length: 0`) + chunked],
    ['Transfer-Encoding: chunked, identity', head(`Transfer-Encoding: chunked, identity`) + chunked],
    [
      'Transfer-Encoding with a vertical tab',
      head(`Transfer-Encoding:\x0bchunked\r\nContent-Length: ${chunked.length}`) + chunked,
    ],
    ['a Transfer-Encoding name with a blank', head(`Transfer-Encoding : chunked\r\nContent-Length: ${chunked.length}`) + chunked],
    ['a folded Transfer-Encoding', head(`X: y\r\n Transfer-Encoding: chunked\r\nContent-Length: 0`) + inner],
    ['two Transfer-Encodings', head(`Transfer-Encoding: chunked\r\nTransfer-Encoding: identity`) + chunked],
    ['a bare line feed between headers', `POST /outer HTTP/1.1\nHost: a\nContent-Length: 0\n\n${inner}`],
    ['a bare line feed that hides a header', head(`X: y\nContent-Length: ${inner.length}`) + inner],
    ['a bare carriage return that hides a header', head(`X: y\rContent-Length: ${inner.length}`) + inner],
    ['NUL in a header', head(`X: y\0z`) + inner],
    ['a chunk size too large', head(`Transfer-Encoding: chunked`) + `fffffffffffffffff\r\n\r\n${inner}`],
    ['a signed chunk size', head(`Transfer-Encoding: chunked`) + `-1\r\n\r\n${inner}`],
    ['a chunk that ends in a line feed', head(`Transfer-Encoding: chunked`) + `1\nX\n0\n\n${inner}`],
    ['a chunk extension with a line feed', head(`Transfer-Encoding: chunked`) + `0;a=b\n\n${inner}`],
    ['HTTP/1.0 with Transfer-Encoding', `POST /outer HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${chunked}`],
    ['an HTTP/2 preface', `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${inner}`],
    ['a request line without a version', `GET /outer\r\n\r\n${inner}`],
  ])('%s: the hidden request is never handled unjudged', async (_what, bytes) => {
    const before = witness.reached.length;
    const socket = connect({ port: witness.port });
    const received = await new Promise<string>((done) => {
      let text = '';
      socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
      socket.on('error', () => {});
      socket.on('close', () => done(text));
      socket.end(bytes, 'latin1');
    });
    const reached = witness.reached.slice(before).map(({ url }) => url);
    expect(reached.filter((url) => url !== '/outer')).toEqual([]);
    expect(reached.length).toBeLessThanOrEqual(1);
    // Either an error for the whole, or the hidden bytes were a request of their own, which policy then refused.
    expect(statusesIn(received).filter((status) => status === 200).length).toBeLessThanOrEqual(1);
  });

  it('no flag of the process makes the parser lenient', () => {
    expect((witness.server as { insecureHTTPParser?: boolean }).insecureHTTPParser).toBe(false);
  });

  it('pipelined requests are each judged: an allowed one opens nothing for the next', async () => {
    const before = witness.reached.length;
    const one = (path: string, more = ''): string => `GET ${path} HTTP/1.1\r\nHost: a\r\n${more}\r\n`;
    const answer = await sendRaw(
      { port: witness.port },
      one('/public/1') + one('/private') + one('/public/2') + one('/private/x') + one('/public/3', 'Connection: close\r\n'),
    );
    expect(statusesIn(answer.bytes)).toEqual([200, 403, 200, 403, 200]);
    expect(
      witness.reached
        .slice(before)
        .map(({ url }) => url)
        .sort(),
    ).toEqual(['/public/1', '/public/2', '/public/3']);
  });

  it('the body of a refused request is no next request', async () => {
    const body = inner.replace('/private', '/public/smuggled');
    const before = witness.reached.length;
    for (const framing of [
      `Content-Length: ${body.length}\r\n\r\n${body}`,
      `Transfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`,
    ]) {
      const answer = await sendRaw({ port: witness.port }, `POST /private HTTP/1.1\r\nHost: a\r\n${framing}`);
      expect(statusesIn(answer.bytes)).toEqual([403]);
    }
    expect(witness.reached).toHaveLength(before);
  });
});

describe('rule 4: methods and hosts', () => {
  it('a HEAD, a preflight and a method override are judged by what they are', async () => {
    const { port } = witness;
    expect(await send({ port }, 'HEAD', '/private')).toMatchObject({ status: 403, body: '' });
    const preflight = [
      ['Origin', 'https://elsewhere.example'],
      ['Access-Control-Request-Method', 'GET'],
    ] as const;
    expect((await send({ port }, 'OPTIONS', '/private', preflight)).status).toBe(403);
    for (const name of ['X-HTTP-Method-Override', 'X-HTTP-Method', 'X-Method-Override']) {
      expect((await send({ port }, 'DELETE', '/public', [[name, 'GET']])).status).toBe(403);
      expect((await send({ port }, 'POST', '/private', [[name, 'GET']])).status).toBe(403);
    }
  });

  it.each(['GET', 'POST', 'DELETE', 'TRACE'])('%s * is refused: the target belongs to OPTIONS', async (method) => {
    expect((await send({ port: witness.port }, method, '*')).status).toBe(400);
  });

  it.each([
    ['/', 'admin.shop'],
    ['/', 'ADMIN.Shop'],
    ['/', 'admin.shop:80'],
    ['/', 'admin.shop:8080'],
    ['/', 'admin.shop:'],
    ['/', 'admin.shop.'],
    ['/', 'Admin.Shop.:443'],
    ['/', 'someone@admin.shop'],
    ['/', 'public.shop@admin.shop:80'],
    ['http://admin.shop/', 'public.shop'],
    ['http://admin.shop:80/', 'public.shop'],
    ['HTTP://ADMIN.SHOP./', 'public.shop'],
    ['https://admin.shop', 'public.shop'],
  ])('DENY on a host holds for target %s with Host %s', async (target, host) => {
    expect((await send({ port: witness.port }, 'GET', target, [['Host', host]])).status).toBe(403);
  });

  it.each([
    ['http://public.shop@admin.shop/', 'public.shop'],
    ['http://admin.shop:80:80/', 'public.shop'],
    ['http:///public', 'public.shop'],
    ['ftp://public.shop/', 'public.shop'],
    ['admin.shop:80', 'public.shop'],
    ['/', 'admin.shop:x'],
    ['/', 'admin.shop:80:80'],
    ['/', 'public.shop, admin.shop'],
    ['/', 'public.shop/admin.shop'],
  ])('target %s with Host %s is read by nobody', async (target, host) => {
    expect((await send({ port: witness.port }, 'GET', target, [['Host', host]])).status).toBe(400);
  });

  it('the host that is judged is the host that is handed over', async () => {
    const answer = await send({ port: witness.port }, 'GET', 'http://public.shop/x', [['Host', 'admin.shop']]);
    expect(answer.status).toBe(200);
    expect(answer.body).not.toContain('admin.shop');
  });
});
