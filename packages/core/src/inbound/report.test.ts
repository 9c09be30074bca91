import type { IncomingMessage } from 'node:http';
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { MeshSnapshot } from '../config/snapshot.js';
import { compilePolicies } from '../policy/compile.js';
import { evaluatePolicies } from '../policy/evaluate.js';
import type { AuthorizationPolicy, AuthorizationPolicySpec } from '../policy/resource.js';
import type { RequestAttributes } from '../request/attributes.js';
import { deniedEvents, type DeniedEvent } from '../telemetry/events.js';
import { createVoice } from '../telemetry/voice.js';
import { recordConnection } from '../tls/peer.js';
import { createRefusal, type Refusal } from './refusal.js';
import { reportDenied } from './report.js';

const mesh = { trustDomain: 'cluster.local', trustDomainAliases: [], rootNamespace: 'istio-system' };
const workload = { namespace: 'shop', serviceAccount: 'product', labels: {} };

function refusalBy(spec: AuthorizationPolicySpec): { readonly refusal: Refusal; readonly reads: string[] } {
  const source = { file: 'p.yaml', line: 1, column: 1 };
  const meta = {
    kind: 'AuthorizationPolicy',
    namespace: 'shop',
    name: 'p',
    creationTimestamp: 0,
    labels: {},
    annotations: {},
    source,
  };
  const authorizationPolicies: AuthorizationPolicy[] = [{ meta, spec }];
  const policies = compilePolicies(authorizationPolicies, workload, mesh);
  const snapshot = { workload, mesh, policies, resources: { authorizationPolicies } } as unknown as MeshSnapshot;
  const attributes = { method: 'GET', path: '/a', pathSpellings: [], header: () => undefined } as unknown as RequestAttributes;
  const decision = evaluatePolicies(policies, attributes);
  const reads: string[] = [];
  const watched = new Proxy(attributes, {
    get(target, name) {
      reads.push(String(name));
      return Reflect.get(target, name) as unknown;
    },
  });
  const judged = { attributes: watched, snapshot };
  return {
    refusal: createRefusal({ step: 'authorize', code: 'ENMESH_POLICY_DENIED', reason: 'none matched', decision, judged }),
    reads,
  };
}

function request(): IncomingMessage {
  const socket = { encrypted: false, remoteAddress: '10.0.0.1' } as unknown as IncomingMessage['socket'];
  recordConnection(socket, { peer: undefined, mode: 'PERMISSIVE' });
  return { method: 'GET', url: '/a?token=s3cret', socket } as unknown as IncomingMessage;
}

const posts: AuthorizationPolicySpec = { rules: [{ to: [{ operation: { methods: ['POST'] } }] }] };
const sentence = 'shop/p rule 0: operation.methods is GET, wants POST';

let stops: (() => void)[] = [];
afterEach(() => {
  for (const stop of stops) stop();
  stops = [];
});
const listen = (hear: (event: DeniedEvent) => void): void => void stops.push(deniedEvents.subscribe(hear));

describe('the rules that came closest', () => {
  it('are told to a listener that reads them while the event is told', () => {
    const { refusal } = refusalBy(posts);
    const heard: unknown[] = [];
    listen((event) => heard.push({ ...event }));
    reportDenied(request(), refusal);
    expect(heard).toMatchObject([{ id: refusal.id, reason: 'none matched', near: [sentence] }]);
  });

  it('are found once, however often they are read and whenever', () => {
    const { refusal, reads } = refusalBy(posts);
    const heard: DeniedEvent[] = [];
    listen((event) => {
      heard.push(event);
      expect(event.near).toEqual([sentence]);
    });
    reportDenied(request(), refusal);
    const before = reads.length;
    expect(heard[0]?.near).toEqual([sentence]);
    expect(reads.length).toBe(before);
  });

  it('cost nothing where nobody listens, or where nobody reads them', () => {
    const { refusal, reads } = refusalBy(posts);
    reportDenied(request(), refusal);
    const heard: DeniedEvent[] = [];
    listen((event) => heard.push(event));
    reportDenied(request(), refusal);
    expect(reads).toEqual([]);
    expect(heard[0]?.near).toBeUndefined();
    expect(reads).toEqual([]);
  });

  it('are said by the voice behind the reason, and not looked for above its rate', () => {
    const { refusal, reads } = refusalBy(posts);
    const lines: string[] = [];
    stops.push(createVoice({ write: (line) => lines.push(line), burst: 1, clock: () => 0 }));
    reportDenied(request(), refusal);
    expect(lines[0]).toContain(`reason="none matched" near="${sentence}" remedy=`);
    const before = reads.length;
    expect(before).toBeGreaterThan(0);
    reportDenied(request(), refusal);
    expect(reads.length).toBe(before);
    expect(lines).toHaveLength(1);
  });

  it('are no part of the event of a DENY hit or of another step', () => {
    const heard: DeniedEvent[] = [];
    listen((event) => heard.push(event));
    reportDenied(request(), refusalBy({ action: 'DENY', rules: [{}] }).refusal);
    reportDenied(request(), createRefusal({ step: 'jwt', code: 'ENMESH_JWT_MALFORMED', reason: 'no token' }));
    expect(heard.map((event) => 'near' in event)).toEqual([false, false]);
    expect(heard[0]).toMatchObject({ policy: 'shop/p', rule: 0 });
  });
});

/** The files that a source file imports to run, itself included; what is imported for its types alone does not count. */
function importsOf(file: string, found = new Set<string>()): Set<string> {
  if (found.has(file)) return found;
  found.add(file);
  for (const [, specifier] of readFileSync(file, 'utf8').matchAll(/^(?:import|export)(?! type)[^;]*? from '(\.[^']+)\.js';/gm))
    importsOf(`${resolve(dirname(file), specifier as string)}.ts`, found);
  return found;
}

describe('an allowed request', () => {
  it.each(['inbound.ts', 'steps.ts', '../policy/evaluate.ts', '../policy/compile.ts'])(
    'does not reach what explains, by %s',
    (file) => {
      const reached = [...importsOf(resolve(import.meta.dirname, file))];
      expect(reached.length).toBeGreaterThan(1);
      expect(reached.filter((path) => /explain/.test(path))).toEqual([]);
    },
  );

  it('is unlike the report of a refusal in this', () => {
    expect(
      [...importsOf(resolve(import.meta.dirname, 'report.ts'))].filter((path) => path.endsWith('/policy/explain.ts')),
    ).toHaveLength(1);
  });
});
