import { get as httpGet, type OutgoingHttpHeaders } from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';
import { compileSnapshot } from '../config/snapshot.js';
import { validateDocuments } from '../config/validate.js';
import { deniedEvents, type DeniedEvent } from '../telemetry/events.js';
import { openAdmin, type Admin } from './admin.js';
import { createDecisionRing } from './decisions.js';

const { resources } = validateDocuments([]);
const snapshot = compileSnapshot(resources!, { namespace: 'shop', serviceAccount: 'product', labels: {} }, 1);
const denied = (id: string, more: Partial<DeniedEvent> = {}): DeniedEvent => ({
  ...{ id, step: 'authorize', code: 'ENMESH_POLICY_DENIED', status: 403, reason: 'r', remedy: 'm' },
  ...more,
});

describe('the admin listener', () => {
  let admin: Admin | undefined;
  afterEach(() => admin?.close());
  const open = async (): Promise<Admin> =>
    (admin = await openAdmin({ port: 0, snapshot: () => snapshot, metrics: () => 'enmesh_ready 1\n', clock: () => 0 }));
  const ask = (
    port: number,
    path: string,
    headers: OutgoingHttpHeaders = {},
    method = 'GET',
  ): Promise<{ status: number; body: string }> =>
    new Promise((done, fail) => {
      const request = httpGet({ host: '127.0.0.1', port, path, headers, method }, (response) => {
        let body = '';
        response.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
        response.on('end', () => done({ status: response.statusCode ?? 0, body }));
      });
      request.on('error', fail).end();
    });

  it('describes the snapshot in force', async () => {
    const { port } = await open();
    const { status, body } = await ask(port, '/describe');
    expect(status).toBe(200);
    expect(JSON.parse(body)).toMatchObject({ workload: { spiffeId: 'spiffe://cluster.local/ns/shop/sa/product' } });
  });

  it('answers with the metrics of the mesh as text', async () => {
    const { port } = await open();
    expect(await ask(port, '/metrics')).toEqual({ status: 200, body: 'enmesh_ready 1\n' });
  });

  it('tells a denial by its id, and knows no other', async () => {
    const { port } = await open();
    deniedEvents.publish(denied('ab12', { near: ['shop/a rule 0: x'] }));
    expect(JSON.parse((await ask(port, '/decisions/ab12')).body)).toMatchObject({
      id: 'ab12',
      near: ['shop/a rule 0: x'],
      time: '1970-01-01T00:00:00.000Z',
    });
    expect((await ask(port, '/decisions/ab13')).status).toBe(404);
  });

  it.each<[string, string, OutgoingHttpHeaders, string, number]>([
    ['a name that leads here by DNS', '/describe', { host: 'evil.example' }, 'GET', 403],
    ['a page of a browser', '/describe', { origin: 'https://evil.example' }, 'GET', 403],
    ['a method that would change something', '/describe', {}, 'POST', 405],
    ['another path', '/', {}, 'GET', 404],
    ['an id that is none', '/decisions/../describe', {}, 'GET', 404],
    ['localhost', '/describe', { host: 'localhost:1' }, 'GET', 200],
  ])('answers %s', async (_, path, headers, method, status) => {
    const { port } = await open();
    expect((await ask(port, path, headers, method)).status).toBe(status);
  });

  it('says which port it could not have', async () => {
    const { port } = await open();
    await expect(openAdmin({ port, snapshot: () => snapshot, metrics: () => '', clock: () => 0 })).rejects.toMatchObject({
      code: 'ENMESH_MESH_PORT',
      message: expect.stringContaining(String(port)) as string,
    });
  });
});

describe('the ring of decisions', () => {
  it('keeps the last ones, and nothing once it is closed', () => {
    const ring = createDecisionRing({ clock: () => 0, size: 2 });
    for (const id of ['a', 'b', 'c']) deniedEvents.publish(denied(id));
    expect(['a', 'b', 'c'].map((id) => ring.find(id)?.id)).toEqual([undefined, 'b', 'c']);
    ring.close();
    deniedEvents.publish(denied('d'));
    expect(['c', 'd'].map((id) => ring.find(id))).toEqual([undefined, undefined]);
  });

  it('works near misses out for 50 denials a second and no more', () => {
    let now = 0;
    let read = 0;
    const ring = createDecisionRing({ clock: () => now });
    const publish = (count: number): void => {
      for (let at = 0; at < count; at += 1) {
        const event = denied(`${now}-${at}`);
        Object.defineProperty(event, 'near', { enumerable: true, get: () => [`${(read += 1)}`] });
        deniedEvents.publish(event);
      }
    };
    publish(60);
    now = 999;
    publish(1);
    expect(read).toBe(50);
    now = 1000;
    publish(1);
    expect([read, ring.find('1000-0')?.near, ring.find('0-59')?.near]).toEqual([51, ['51'], undefined]);
    ring.close();
  });
});
