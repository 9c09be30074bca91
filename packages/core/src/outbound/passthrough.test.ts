import { createServer, get, type Agent } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { defaultMeshSettings } from '../config/mesh-config.js';
import { noticeEvents, type NoticeEvent } from '../telemetry/events.js';
import { createTestAuthority } from '../testing/authority.js';
import { createMeshAgent } from './agent.js';
import { createMeshDispatcher } from './dispatcher.js';
import { createMeshRequest } from './fetch.js';
import type { PlanSources } from './plan.js';

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** `localhost` is declared with the ports 80 and 443; nothing else of it is. */
function sources(): PlanSources {
  const meta = { kind: 'ServiceEntry', namespace: 'shop', name: 'x', creationTimestamp: 0, labels: {}, annotations: {} };
  const entry = {
    meta: { ...meta, source: { file: 'services.yaml', line: 1, column: 1 } },
    spec: {
      hosts: ['localhost'],
      ports: [80, 443].map((number) => ({ number, name: `http-${number}`, protocol: 'HTTP' })),
    },
  };
  const none = { services: [], workloadEntries: [], destinationRules: [], peerAuthentications: [] };
  return {
    registry: { ...none, serviceEntries: [entry] },
    mesh: defaultMeshSettings,
    workload: { namespace: 'shop', serviceAccount: 'gateway', labels: {} },
  };
}

async function start(): Promise<{ request: ReturnType<typeof createMeshRequest>; agent: Agent; notices: NoticeEvent[] }> {
  const authority = await createTestAuthority();
  const identity = await authority.identity({ namespace: 'shop', serviceAccount: 'gateway' });
  const from = sources();
  const options = { identity, snapshot: () => from };
  const dispatcher = createMeshDispatcher(options);
  const agent = createMeshAgent(options);
  const notices: NoticeEvent[] = [];
  ends.push(
    () => dispatcher.destroy(),
    () => agent.destroy(),
    noticeEvents.subscribe((notice) => notices.push(notice)),
  );
  return { request: createMeshRequest(dispatcher), agent, notices };
}

async function portOfServer(isOpen: boolean): Promise<number> {
  const server = createServer((_, res) => res.end('here'));
  await new Promise<void>((done) => server.listen(0, 'localhost', done));
  const { port } = server.address() as AddressInfo;
  const close = (): Promise<unknown> => {
    server.closeAllConnections();
    return new Promise((done) => server.close(done));
  };
  if (isOpen) ends.push(close);
  else await close();
  return port;
}

const getThrough = (agent: Agent, port: number): Promise<string> =>
  new Promise((done, fail) => {
    get(`http://localhost:${port}/`, { agent }, (response) => {
      response.setEncoding('utf8').on('data', done).on('error', fail);
    }).on('error', fail);
  });

describe('a call to a declared host at a port that it does not have', () => {
  it('is told by its port when nobody answers, through both clients', async () => {
    const { request, agent } = await start();
    const port = await portOfServer(false);
    const undeclared = {
      code: 'ENMESH_OUTBOUND_UNDECLARED',
      message: expect.stringMatching(
        new RegExp(`^no service declares localhost:${port}: the host is declared with ports 80, 443, so .*\\(ECONNREFUSED\\)$`),
      ),
    };
    await expect(request(`http://localhost:${port}/`)).rejects.toMatchObject(undeclared);
    await expect(getThrough(agent, port)).rejects.toMatchObject(undeclared);
  });

  it('goes out as Istio lets it, in plaintext, and a notice says so once', async () => {
    const { request, agent, notices } = await start();
    const port = await portOfServer(true);
    expect(await (await request(`http://localhost:${port}/`)).body.text()).toBe('here');
    expect(await getThrough(agent, port)).toBe('here');
    expect(await getThrough(agent, port)).toBe('here');
    expect(notices).toMatchObject([{ kind: 'call-undeclared-port', level: 'warn', code: 'ENMESH_OUTBOUND_UNDECLARED' }]);
    expect(notices[0]?.message).toContain(`localhost:${port}: the host is declared with ports 80, 443, so calls to it leave`);
  });
});
