import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { noticeEvents, type NoticeEvent } from '@enmesh/core';
import { createHouse, open, send, type House } from '../support/house.js';
import { untilHolds } from '../support/waiting.js';

const policies = `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: all, namespace: shop}
spec: {rules: [{}]}
`;

let directory: string;
let house: House;
let port: number;
let notices: NoticeEvent[];
let stop: () => void;
const path = (name: string): string => join(directory, name);
const say = (text: string): void => {
  writeFileSync(path('next.yaml'), text);
  renameSync(path('next.yaml'), path('enmesh.yaml'));
};
const pathsIn = (name: string): string[] =>
  [...readFileSync(path(name), 'utf8').matchAll(/"url.path":"([^"]*)"/g)].map(([, found]) => found as string);
const logged = (name: string, paths: readonly string[]): Promise<void> => untilHolds(() => expect(pathsIn(name)).toEqual(paths));
const told = (): string[] =>
  notices.filter(({ kind }) => /^(settings|access-log)-/.test(kind)).map(({ kind, message }) => `${kind}: ${message}`);

async function begin(text: string, options: Parameters<typeof createHouse>[1] = {}): Promise<void> {
  say(text);
  house = await createHouse(policies, { file: path('enmesh.yaml'), ...options });
  const server = house.mesh.createServer((_request, response) => void response.end());
  port = await open(server);
}
const ask = (target: string): Promise<unknown> => send({ port }, 'GET', target);

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'enmesh-setting-'));
  notices = [];
  stop = noticeEvents.subscribe((notice) => notices.push(notice));
});
afterEach(async () => {
  stop();
  await house.close();
  rmSync(directory, { recursive: true, force: true });
});

describe('the access log of a running service', () => {
  it('follows enmesh.yaml by itself: on, to another file, off', async () => {
    await begin('log: false\n');
    await ask('/none');
    say('accessLog: {file: a.log}\n');
    await untilHolds(() => expect(told()).toHaveLength(2));
    await ask('/a');
    await logged('a.log', ['/a']);
    say('accessLog: {file: b.log}\n');
    await house.mesh.reload();
    await ask('/b');
    await logged('b.log', ['/b']);
    say('accessLog: off\n');
    await house.mesh.reload();
    await ask('/off');
    await house.mesh.close();
    expect([pathsIn('a.log'), pathsIn('b.log')]).toEqual([['/a'], ['/b']]);
    expect(told()).toEqual([
      `settings-changed: ${path('enmesh.yaml')} says something else of log: that counts after a restart`,
      `settings-changed: the access log goes to ${path('a.log')} (json, all) from now on`,
      `settings-changed: the access log goes to ${path('b.log')} (json, all) from now on`,
      'settings-changed: the access log is off from now on',
    ]);
  });

  it('stays where it is while the other file cannot be opened, says so once, and goes there once it can be', async () => {
    await begin('accessLog: {file: a.log}\n');
    say('accessLog: {file: later/b.log}\n');
    await house.mesh.reload();
    await house.mesh.reload();
    await ask('/a');
    await logged('a.log', ['/a']);
    expect(told()).toEqual([
      `access-log-failed: the access log file ${path('later/b.log')} cannot be opened (ENOENT); it goes to ${path('a.log')} (json, all) as before, and the new one is tried again`,
    ]);
    mkdirSync(path('later'));
    await untilHolds(() => expect(told()).toHaveLength(2));
    await ask('/b');
    await logged('later/b.log', ['/b']);
  });

  it('and the claims that may be told stay as they are where the file is wrong', async () => {
    await begin('accessLog: {file: a.log}\nauditClaims: [groups]\n');
    for (const wrong of ['accessLog: {fil: b.log}\n', '']) {
      say(wrong);
      await house.mesh.reload();
    }
    await ask('/a');
    await logged('a.log', ['/a']);
    expect(told().map((text) => text.slice(0, 17))).toEqual(['settings-rejected', 'settings-rejected']);
  });

  it('does not follow the file where code or environment have said where it goes', async () => {
    await begin('accessLog: {file: a.log}\n', { accessLog: { file: path('code.log') } });
    say('accessLog: {file: b.log}\n');
    await house.mesh.reload();
    await ask('/a');
    await logged('code.log', ['/a']);
    expect(told()).toEqual([]);
  });

  it('tells claims by the file as it is now', async () => {
    await begin('accessLog: {file: a.log}\n');
    say('accessLog: {file: a.log}\nauditClaims: [tenant, groups]\n');
    await house.mesh.reload();
    expect(told()).toEqual(['settings-changed: audit events tell tenant, groups from now on']);
  });
});
