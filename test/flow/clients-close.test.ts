import { once } from 'node:events';
import { get, type IncomingMessage, type ServerResponse } from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createCallers, serviceAt, type Caller, type Callers } from '../support/callers.js';

const url = 'http://stock.shop.svc.cluster.local/';

let callers: Callers;
let gateway: Caller;
let begun: ServerResponse[];
beforeEach(async () => {
  callers = await createCallers();
  begun = [];
  const port = await callers.serve(await callers.open('stock'), (request, response) => {
    response.write('begun ');
    if (request.url === '/begun') begun.push(response);
    else response.end();
  });
  gateway = await callers.open('gateway', { 'stock.yaml': serviceAt('stock', [port]) });
});
afterEach(() => callers.close());

const byAgent = (): Promise<IncomingMessage> =>
  new Promise((done, fail) => void get(`${url}begun`, { agent: gateway.mesh.agent }, done).on('error', fail));
const textOf = async (response: IncomingMessage): Promise<string> => Buffer.concat(await response.toArray()).toString();

describe('closing a mesh', () => {
  it('lets the calls of every client finish, and takes no more', async () => {
    const { mesh } = gateway;
    const [fetched, requested, got] = [await mesh.fetch(`${url}begun`), await mesh.request(`${url}begun`), await byAgent()];
    const texts = Promise.all([fetched.text(), requested.body.text(), textOf(got)]);
    const closed = mesh.close({ deadlineMs: 20_000 });
    await new Promise(setImmediate);
    await expect(mesh.fetch(url)).rejects.toMatchObject({ cause: { code: 'ENMESH_OUTBOUND_CLOSED' } });
    await expect(byAgent()).rejects.toMatchObject({ code: 'ENMESH_OUTBOUND_CLOSED' });
    for (const response of begun) response.end('ended');
    expect(await texts).toEqual(['begun ended', 'begun ended', 'begun ended']);
    await closed;
  });

  it('ends the calls that go on for ever when the deadline has passed, also those of an identity before the last', async () => {
    const { mesh, identity } = gateway;
    const old = await mesh.fetch(`${url}begun`);
    identity.rotate(await callers.authority.issue({ namespace: 'shop', serviceAccount: 'gateway' }));
    const [fetched, got] = [await mesh.fetch(`${url}begun`), await byAgent()];
    const broken = [old.text(), fetched.text(), once(got.resume(), 'end')].map((call) =>
      call.then(
        () => 'finished',
        () => 'broken',
      ),
    );
    await mesh.close({ deadlineMs: 100 });
    expect(await Promise.all(broken)).toEqual(['broken', 'broken', 'broken']);
  });
});
