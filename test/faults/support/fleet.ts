import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createTestAuthority, type TestAuthority } from '@enmesh/core/testing';
import type { X509Svid } from '@enmesh/core';
import { peerAuthentication, serviceEntry } from '../../support/documents.js';

/** The long forms take minutes to hours; without them each suite runs seconds. */
export const isLong = process.env['ENMESH_FAULTS'] === 'long';

/** The value for this run. */
export function form<T>(short: T, long: T): T {
  return isLong ? long : short;
}

/** What a process of the fleet is to be; see service.mjs and caller.mjs. */
export interface Wanted {
  readonly serviceAccount: string;
  readonly lifeMs: number;
  readonly everyMs?: number;
  readonly bare?: boolean;
  readonly port?: number;
  /** Options of `mesh.createServer`. */
  readonly server?: Readonly<Record<string, unknown>>;
}

/** What a process holds: bytes, descriptors, microseconds. */
export interface Usage {
  readonly rss: number;
  readonly heapUsed: number;
  readonly fds: number;
  readonly cpu: number;
}

/** What a caller has counted. */
export interface Counted {
  readonly ok: number;
  readonly failures: Readonly<Record<string, number>>;
  readonly p50: number;
  readonly p99: number;
  /** Connections beside the load: the serial that the server showed, and when. */
  readonly handshakes: readonly { readonly serial: string; readonly at: number }[];
}

/** A process with its own CPU time, under the driver's commands. */
export interface Member {
  readonly child: ChildProcess;
  readonly port: number;
  readonly exited: Promise<readonly unknown[]>;
  ask<T = null>(command: string, given?: object): Promise<T>;
}

/** The processes of one suite, and the authority that they all ask for certificates. */
export interface Fleet {
  /** The authority that issues now, and the roots given to a process that starts or that `roll` tells. */
  authority: TestAuthority;
  roots: readonly string[];
  /** Whom the authority does not answer: the service accounts, or all. */
  isDown: false | 'for all' | readonly string[];
  /** Milliseconds since the epoch when a serial was issued. */
  readonly issuedAt: ReadonlyMap<string, number>;
  /** When somebody asked for a certificate, refused or not. */
  readonly asked: readonly { readonly serviceAccount: string; readonly at: number }[];
  start(script: 'service' | 'caller', wanted: Wanted): Promise<Member>;
  /** Clients without an identity of their own; see crowd.mjs. */
  startCrowd(): Promise<Member>;
  /** Gives all processes these roots, and waits until they hold them. */
  giveRoots(roots: readonly string[]): Promise<void>;
  /** Declares `product` (and others) at these ports of 127.0.0.1, for callers that start or reload later. */
  declare(ports: Readonly<Record<string, number>>): void;
  issue(serviceAccount: string, from?: TestAuthority): Promise<X509Svid>;
  close(): Promise<void>;
}

const policies = `${peerAuthentication('STRICT')}---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: callers, namespace: shop}
spec: {rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/gateway]}}]}]}
`;

/** Creates a fleet without processes. */
export async function createFleet(): Promise<Fleet> {
  const directory = mkdtempSync(join(tmpdir(), 'enmesh-faults-'));
  const members: Member[] = [];
  const issuedAt = new Map<string, number>();
  const asked: { serviceAccount: string; at: number }[] = [];
  const authority = await createTestAuthority();
  const issue = async (serviceAccount: string, from = fleet.authority, lifeMs = 3_600_000): Promise<X509Svid> => {
    const svid = await from.issue({ namespace: 'shop', serviceAccount, notAfter: Date.now() + lifeMs });
    issuedAt.set(svid.serial.toLowerCase(), Date.now());
    return svid;
  };
  const questions: Readonly<Record<string, (about: Wanted) => unknown>> = {
    bundles: () => fleet.roots,
    async issue({ serviceAccount, lifeMs }) {
      asked.push({ serviceAccount, at: Date.now() });
      if (fleet.isDown === 'for all' || (fleet.isDown && fleet.isDown.includes(serviceAccount))) throw new Error('ECONNREFUSED');
      const { chain, privateKey } = await issue(serviceAccount, fleet.authority, lifeMs);
      return { chain, privateKey: privateKey.export({ type: 'pkcs8', format: 'pem' }) };
    },
  };
  const add = async (script: string, wanted: object): Promise<Member> => {
    const member = await startMember(script, wanted, questions);
    members.push(member);
    return member;
  };
  const fleet: Fleet = {
    authority,
    roots: [authority.rootPem],
    isDown: false,
    issuedAt,
    asked,
    issue: (serviceAccount, from) => issue(serviceAccount, from),
    start: (script, wanted) => add(script, { ...wanted, config: directory }),
    startCrowd: () => add('crowd', {}),
    async giveRoots(roots) {
      fleet.roots = roots;
      await Promise.all(members.map((member) => member.ask('bundles', { roots })));
    },
    declare(ports) {
      const entries = Object.entries(ports).map(([name, port]) => `---${serviceEntry({ name, port })}`);
      writeFileSync(join(directory, 'mesh.yaml'), [policies, ...entries].join(''));
    },
    async close() {
      for (const { child } of members) child.kill('SIGKILL');
      await Promise.all(members.map(({ exited }) => exited));
      rmSync(directory, { recursive: true, force: true });
    },
  };
  fleet.declare({});
  return fleet;
}

interface Message {
  readonly id: number;
  readonly question?: string;
  readonly about?: Wanted;
  readonly done?: unknown;
  readonly failed?: string;
  readonly ready?: boolean;
  readonly port?: number;
}

async function startMember(
  script: string,
  wanted: object,
  questions: Readonly<Record<string, (about: Wanted) => unknown>>,
): Promise<Member> {
  const path = fileURLToPath(new URL(`${script}.mjs`, import.meta.url));
  const child = spawn(process.execPath, ['--expose-gc', path, JSON.stringify(wanted)], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    env: { ...process.env, NODE_ENV: 'test' },
  });
  const waiting = new Map<number, { done: (value: unknown) => void; fail: (error: Error) => void }>();
  const exited = once(child, 'exit');
  let commands = 0;
  const ready = new Promise<number>((done, fail) => {
    child.on('message', (message: Message) => {
      const { id, question, about } = message;
      if (message.ready === true) return done(message.port ?? 0);
      if (question !== undefined) return void reply(child, id, () => questions[question]?.(about as Wanted));
      const { done: settle, fail: refuse } = waiting.get(id) ?? {};
      waiting.delete(id);
      if (message.failed === undefined) settle?.(message.done);
      else refuse?.(new Error(message.failed));
    });
    void exited.then(([code, signal]) => {
      const error = new Error(`${script} ended with ${String(code ?? signal)}`);
      fail(error);
      for (const { fail: refuse } of waiting.values()) refuse(error);
    });
  });
  return {
    child,
    exited,
    port: await ready,
    ask<T>(command: string, given?: object) {
      const id = ++commands;
      return new Promise<T>((done, fail) => {
        waiting.set(id, { done: done as (value: unknown) => void, fail });
        child.send({ id, command, given }, (error) => error && fail(error));
      });
    },
  };
}

async function reply(child: ChildProcess, id: number, find: () => unknown): Promise<void> {
  try {
    const answered = await find();
    if (child.connected) child.send({ id, answered }, () => {});
  } catch (error) {
    if (child.connected) child.send({ id, refused: (error as Error).message }, () => {});
  }
}
