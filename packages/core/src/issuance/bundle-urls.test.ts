import { createServer, type Server } from 'node:net';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createTestClock } from '../testing/clock.js';
import { createBundleUrls, type BundleUrls } from './bundle-urls.js';
import { untilHolds } from '../../../../test/support/waiting.js';

let server: Server;
let url: string;
let asked: number;
let urls: BundleUrls | undefined;
beforeEach(async () => {
  asked = 0;
  // Nobody who speaks TLS: every attempt fails at once.
  server = createServer((socket) => {
    asked += 1;
    socket.destroy();
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  url = `https://127.0.0.1:${(server.address() as AddressInfo).port}/`;
});
afterEach(async () => {
  urls?.close();
  await new Promise((done) => server.close(done));
});

describe('createBundleUrls', () => {
  it('asks what is wanted, keeps what stays and forgets what goes', async () => {
    const clock = createTestClock(Date.now());
    urls = createBundleUrls({ clock: clock.now, timer: clock.timer });
    await urls.tried();
    urls.use([{ url, trustDomain: 'a.example' }]);
    await urls.tried();
    expect(urls.status()).toEqual([{ trustDomain: 'a.example', endpoint: url, fetchedAt: undefined, failures: 1 }]);
    expect(urls.current()).toEqual(new Map());
    urls.use([
      { url, trustDomain: 'a.example' },
      { url: `${url}b?token=x`, trustDomain: 'b.example' },
    ]);
    await urls.tried();
    expect(urls.status().map(({ endpoint, failures }) => [endpoint, failures])).toEqual([
      [url, 1],
      [`${url}b`, 1],
    ]);
    await untilHolds(() => expect(clock.pending).toBe(2));
    urls.use([{ url: `${url}b?token=x`, trustDomain: 'b.example' }]);
    expect([clock.pending, urls.status().length]).toEqual([1, 1]);
    urls.close();
    expect([clock.pending, urls.status().length, asked]).toEqual([0, 0, 2]);
  });

  it('lets go of whoever waits for an attempt when it is closed', async () => {
    server.removeAllListeners('connection');
    urls = createBundleUrls();
    urls.use([{ url, trustDomain: 'a.example' }]);
    const tried = urls.tried();
    urls.close();
    await tried;
    expect(urls.current()).toEqual(new Map());
  });
});
