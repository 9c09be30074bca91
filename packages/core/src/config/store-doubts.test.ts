import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { noticeEvents, type NoticeEvent } from '../telemetry/events.js';
import type { ConfigSource } from './directory.js';
import type { Validator } from './off-thread.js';
import { createConfigStore, type ConfigStore } from './store.js';
import { validateDocuments } from './validate.js';

const workload = { namespace: 'shop', serviceAccount: 'product', labels: { app: 'product' } };
const inline: Validator = { validate: async (files) => validateDocuments(files), close: async () => {} };

const denying = (app: string, port: number, mode: string): string => `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: modes, namespace: shop}
spec: {mtls: {mode: ${mode}}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: shop}
spec:
  selector: {matchLabels: {app: ${app}}}
  action: DENY
  rules:
  - from: [{source: {principals: ["cluster.local/ns/shop/sa/visitor"]}}]
    to: [{operation: {ports: ["${port}"]}}]
`;

let text: string;
let notices: NoticeEvent[];
let store: ConfigStore;
let stop: () => void;

const source: ConfigSource = {
  label: 'mesh',
  read: async () => [{ name: 'a.yaml', text }],
  watch: () => () => {},
};
const warnings = (): string[] => notices.filter(({ kind }) => kind === 'config-warning').map(({ message }) => message);

async function open(documents: string): Promise<void> {
  text = documents;
  store = await createConfigStore({ source, workload, validator: inline, portsKnownMs: 1000 });
}

beforeEach(() => {
  notices = [];
  stop = noticeEvents.subscribe((notice) => notices.push(notice));
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
});
afterEach(async () => {
  vi.useRealTimers();
  stop();
  await store.close();
});

describe('a store', () => {
  it('tells what is doubtful for its workload once the configuration is in force', async () => {
    await open(denying('produkt', 8080, 'STRICT'));
    expect(notices.map(({ kind }) => kind)).toEqual(['config-loaded', 'config-warning']);
    expect(warnings()[0]).toContain('a.yaml:7:1 spec.selector.matchLabels: selects no workload that is known here');
  });

  it('tells a doubt again neither at the next load nor when the ports are known', async () => {
    await open(denying('product', 8080, 'PERMISSIVE'));
    expect(warnings()).toEqual([expect.stringContaining('does not deny callers in the clear')]);
    text = `# the same, a line lower\n${text}`;
    expect(await store.reload()).toBe(true);
    store.reportPort(8080);
    await vi.advanceTimersByTimeAsync(1000);
    expect(warnings()).toHaveLength(1);
  });

  it('tells of ports that nobody listens on when all servers have had time to begin', async () => {
    await open(denying('product', 9090, 'STRICT'));
    store.reportPort(8080);
    await vi.advanceTimersByTimeAsync(999);
    store.reportPort(8081);
    await vi.advanceTimersByTimeAsync(999);
    expect(warnings()).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(warnings()).toEqual([expect.stringContaining('nobody listens on port 9090: this process listens on port 8080, 8081')]);
  });

  it('is silent when the last server to begin is the one that policies speak of', async () => {
    await open(denying('product', 9090, 'STRICT'));
    store.reportPort(8080);
    await vi.advanceTimersByTimeAsync(500);
    store.reportPort(9090);
    await vi.advanceTimersByTimeAsync(5000);
    expect(warnings()).toEqual([]);
  });

  it('knows the ports at later loads', async () => {
    await open(denying('product', 8080, 'STRICT'));
    store.reportPort(8080);
    await vi.advanceTimersByTimeAsync(1000);
    text = denying('product', 80, 'STRICT');
    await store.reload();
    expect(warnings()).toEqual([expect.stringContaining('nobody listens on port 80: ')]);
  });

  it('says nothing of ports after it is closed', async () => {
    await open(denying('product', 9090, 'STRICT'));
    store.reportPort(8080);
    await store.close();
    store.reportPort(8081);
    await vi.advanceTimersByTimeAsync(5000);
    expect(warnings()).toEqual([]);
  });
});
