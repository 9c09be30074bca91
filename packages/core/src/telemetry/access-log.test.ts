import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { formatIstio, formatIstioJson } from './access-log-istio.js';
import { formatJson } from './access-log-json.js';
import { openAccessLog, type AccessLog, type AccessLogOptions } from './access-log.js';
import { auditEvents, type CallAudit, type RequestAudit } from './audit.js';

const workload = {
  namespace: 'shop',
  serviceAccount: 'stock',
  trustDomain: 'cluster.local',
  spiffeId: 'spiffe://cluster.local/ns/shop/sa/stock',
};
const allowed: RequestAudit = {
  kind: 'request',
  id: '0011223344556677',
  time: Date.parse('2026-11-23T01:02:03.004Z'),
  workload,
  verdict: 'allowed',
  code: undefined,
  reason: undefined,
  step: undefined,
  peer: 'spiffe://cluster.local/ns/shop/sa/product',
  user: { issuer: 'https://idp.example', subject: 'jane', claims: {} },
  actors: [],
  trace: { requestId: 'req-1', traceparent: undefined },
  policy: 'shop/stock',
  rule: 0,
  audit: undefined,
  auditedBy: undefined,
  dryRun: undefined,
  method: 'GET',
  path: '/stocks',
  host: 'stock.shop',
  tls: true,
  sni: 'outbound_.80_._.stock',
  httpVersion: '1.1',
  source: { ip: '10.0.0.7', port: 40_000 },
  destination: { ip: '::1', port: 9080 },
  port: 9080,
  userAgent: 'undici',
  forwardedFor: undefined,
  answer: undefined,
  status: 200,
  requestBytes: 0,
  responseBytes: 5,
  durationMs: 12.3456,
  isComplete: true,
};
const refused = (change: Partial<RequestAudit>): RequestAudit => ({ ...allowed, verdict: 'refused', status: 403, ...change });
const detailsOf = (event: RequestAudit): unknown =>
  (JSON.parse(formatIstioJson(event)) as Record<string, unknown>)['response_code_details'];

describe("a line in Istio's formats", () => {
  it('is the default text format, with a dash for what is not known', () => {
    expect(formatIstio(allowed)).toBe(
      '[2026-11-23T01:02:03.004Z] "GET /stocks HTTP/1.1" 200 - via_upstream - "-" 0 5 12 - "-" "undici" "req-1" "stock.shop" "-" ' +
        'inbound|9080|| - [::1]:9080 10.0.0.7:40000 outbound_.80_._.stock -',
    );
  });

  it('has null for what is not known in its JSON form, and numbers as numbers', () => {
    expect(JSON.parse(formatIstioJson(allowed))).toMatchObject({
      response_code: 200,
      duration: 12,
      upstream_host: null,
      route_name: null,
      x_forwarded_for: null,
    });
  });

  it.each([
    ['a policy', refused({ code: 'ENMESH_POLICY_DENIED' }), 'rbac_access_denied_matched_policy[ns[shop]-policy[stock]-rule[0]]'],
    ['no policy', refused({ code: 'ENMESH_POLICY_DENIED', policy: undefined }), 'rbac_access_denied_matched_policy[none]'],
    [
      'a token',
      refused({ code: 'ENMESH_JWT_EXPIRED' as never, step: 'jwt', answer: 'Jwt is expired' }),
      'jwt_authn_access_denied{Jwt_is_expired}',
    ],
    ['an authorizer', refused({ code: 'ENMESH_CUSTOM_DENIED', step: 'custom' }), 'ext_authz_denied'],
    ['what Envoy does not know', refused({ code: 'ENMESH_INBOUND_TARGET', step: 'normalize' }), 'enmesh{ENMESH_INBOUND_TARGET}'],
  ])("says in Envoy's words who refused: %s", (_who, event, details) => {
    expect(detailsOf(event)).toBe(details);
  });

  it('marks an authorizer, and a client that went away', () => {
    expect(formatIstio(refused({ code: 'ENMESH_CUSTOM_DENIED', step: 'custom' }))).toContain(' 403 UAEX ');
    expect(formatIstio({ ...allowed, status: undefined, isComplete: false })).toContain(' 0 DC downstream_remote_disconnect ');
  });
});

describe('the line of a request that an AUDIT rule matched', () => {
  it('names the policy and the rule beside those that decided', () => {
    const event = { ...allowed, audit: true, auditedBy: { policy: 'shop/watched', rule: 2 } };
    expect(JSON.parse(formatJson(event))).toMatchObject({
      'enmesh.policy': 'shop/stock',
      'enmesh.rule': 0,
      'enmesh.audit': true,
      'enmesh.audit_policy': 'shop/watched',
      'enmesh.audit_rule': 2,
    });
  });
});

describe('what a client writes', () => {
  const evil = ['a\r\nb', '"} forged "', 'a\\', '\u0000', '\u001b[31m', '\u2028', '\u202e', '\ud800', '\u0085', '" 200 - "'];
  it.each(evil)('ends no line and leaves no field: %j', (text) => {
    const event = { ...allowed, path: `/${text}`, userAgent: text, forwardedFor: text, method: text, sni: text };
    for (const format of [formatIstio, formatIstioJson, formatJson]) {
      const line = format(event);
      expect(line).toMatch(/^[\x20-\x7e]*$/);
    }
    expect(JSON.parse(formatJson(event))).toMatchObject({ 'user_agent.original': text, 'url.path': `/${text}` });
    expect(JSON.parse(formatIstioJson(event))).toMatchObject({ user_agent: text });
    // Quotes that stand for themselves are as many as in any line.
    expect(formatIstio(event).match(/(?<!\\)(?:\\\\)*"/g)).toHaveLength(14);
  });
});

describe('an access log', () => {
  let directory: string;
  let log: AccessLog | undefined;
  beforeEach(() => void (directory = mkdtempSync(join(tmpdir(), 'enmesh-log-'))));
  afterEach(async () => {
    await log?.close(1000);
    log = undefined;
    rmSync(directory, { recursive: true, force: true });
  });
  const file = (): string => join(directory, 'access.log');
  const openLog = async (change: Partial<AccessLogOptions> = {}): Promise<AccessLog> =>
    (log = await openAccessLog({ to: { file: file() }, format: 'json', filter: 'all', calls: true, workload, ...change }));
  const kinds = async (): Promise<readonly unknown[]> => {
    await log?.close(1000);
    log = undefined;
    const lines = readFileSync(file(), 'utf8').split('\n').slice(0, -1);
    return lines.map((line) => (JSON.parse(line) as Record<string, unknown>)['enmesh.verdict']);
  };
  const call = {
    ...allowed,
    kind: 'call',
    mode: 'HOP',
    audience: [],
    stripped: [],
    transactionToken: false,
  } as unknown as CallAudit;

  it('has the decisions of its own workload and of no other mesh in the process', async () => {
    await openLog();
    auditEvents.publish(allowed);
    auditEvents.publish({ ...allowed, workload: { ...workload } });
    auditEvents.publish(call);
    expect(await kinds()).toEqual(['allowed', 'allowed']);
  });

  it('leaves out what it is told to', async () => {
    await openLog({ filter: 'refused', calls: false });
    auditEvents.publish(allowed);
    auditEvents.publish({ ...call, verdict: 'refused' });
    auditEvents.publish(refused({}));
    expect(await kinds()).toEqual(['refused']);
  });

  it('shares a file with another mesh that names it, until the last of them is closed', async () => {
    const first = await openLog();
    const other = { ...workload };
    const second = await openAccessLog({ to: { file: file() }, format: 'json', filter: 'all', calls: true, workload: other });
    await first.close(1000);
    log = second;
    auditEvents.publish({ ...allowed, workload: other });
    expect(await kinds()).toEqual(['allowed']);
  });

  it('goes on in another file, every line in exactly one of the two and in its order', async () => {
    const opened = await openLog({ filter: 'refused' });
    const next = join(directory, 'next.log');
    let number = 0;
    const tell = (): void => auditEvents.publish({ ...refused({}), id: String(number++) });
    for (let i = 0; i < 50; i++) tell();
    const changing = opened.change({ to: { file: next }, format: 'json', filter: 'all', calls: true, workload }, 10_000);
    let isOver = false;
    const ending = changing.finally(() => (isOver = true));
    while (!isOver) {
      tell();
      await new Promise((done) => setImmediate(done));
    }
    await ending;
    auditEvents.publish({ ...allowed, id: String(number++) });
    await opened.close(1000);
    const idsOf = (path: string): string[] =>
      [...readFileSync(path, 'utf8').matchAll(/"enmesh.decision":"(\d+)"/g)].map(([, id]) => id as string);
    const [before, after] = [idsOf(file()), idsOf(next)];
    expect(before.length).toBeGreaterThanOrEqual(50);
    expect(after.at(-1)).toBe(String(number - 1));
    expect([...before, ...after]).toEqual(Array.from({ length: number }, (_, at) => String(at)));
    expect(opened.lost).toBe(0);
  });

  it('takes another form in the same file', async () => {
    const opened = await openLog();
    auditEvents.publish(allowed);
    await opened.change({ to: { file: file() }, format: 'istio', filter: 'all', calls: true, workload }, 1000);
    auditEvents.publish(allowed);
    await opened.close(1000);
    expect(readFileSync(file(), 'utf8')).toMatch(/^\{.*\}\n\[20.* "GET \/stocks HTTP\/1\.1" 200 .*\n$/);
  });

  it('stays where it is when the other file cannot be opened', async () => {
    const opened = await openLog();
    const change = { to: { file: directory }, format: 'json', filter: 'all', calls: true, workload } as const;
    await expect(opened.change(change, 1000)).rejects.toMatchObject({ code: 'ENMESH_TELEMETRY_ACCESS_LOG' });
    auditEvents.publish(allowed);
    expect(await kinds()).toEqual(['allowed']);
  });

  it('refuses the start where its file cannot be opened, and can be opened later', async () => {
    await expect(openLog({ to: { file: directory } })).rejects.toMatchObject({ code: 'ENMESH_TELEMETRY_ACCESS_LOG' });
    await openLog();
    auditEvents.publish(allowed);
    expect(await kinds()).toEqual(['allowed']);
  });
});
