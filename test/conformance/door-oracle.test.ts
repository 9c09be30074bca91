import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { platform, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  createPeers,
  openWorld,
  writeWorld,
  type DoorCase,
  type DoorWorld,
  type Observed,
  type Place,
} from './door-oracle-world.js';
import { exceptions, ofTheCodec } from './inbound-exceptions.js';
import { readInboundOracle } from './inbound-oracle.js';

const oracle = process.env['ENMESH_ORACLE'] ?? resolve(import.meta.dirname, '../../../shared/oracle');
const file = resolve(oracle, 'inbound.ndjson.gz');
// Callers have addresses of their own below 127/8, which only Linux gives to everyone.
const present = existsSync(file) && platform() === 'linux';
if (!present) console.log(`skip: the inbound oracle was not found below ${oracle}, or this is not Linux`);

type Manner = Pick<Place, 'istioHeaders' | 'keepsConnections'>;

interface Verdict {
  readonly outcome: string;
  readonly status: number | undefined;
  readonly body: string | undefined;
  readonly challenge: string | undefined;
  readonly policy: string | undefined;
  readonly rule: number | undefined;
  readonly audit: boolean | undefined;
  readonly dryRun: unknown;
  readonly path: string | undefined;
  readonly headers: Readonly<Record<string, readonly string[]>> | undefined;
  readonly forwardedClientCert: string | undefined;
}

const hasIstioBody = (status: number | undefined): boolean => status === 401 || status === 403;

/** A challenge without the query, which enmesh keeps out of it because a token may stand there, and without the host's case. */
const comparable = (challenge: string | undefined): string | undefined => challenge?.replace(/\?[^"]*/, '').toLowerCase();

function verdictOfOracle({ expect, request }: DoorCase, { istioHeaders }: Manner): Verdict {
  const { outcome, status, body, policy, rule, audit, dryRun, upstream } = expect;
  const headers = upstream && { ...upstream.headers };
  // Envoy writes one into requests of some methods that came without a body.
  const isCounted = request.headers.some(([name]) => name.toLowerCase() === 'content-length');
  if (!isCounted && headers?.['content-length']?.join() === '0') delete headers['content-length'];
  return {
    outcome,
    status,
    // Answers to HEAD have none.
    body: hasIstioBody(status) ? (body ?? '') : undefined,
    challenge: comparable(expect.headers?.['www-authenticate']?.[0]),
    policy,
    rule,
    audit,
    dryRun,
    path: upstream?.path,
    headers,
    forwardedClientCert: istioHeaders ? upstream?.forwardedClientCert : undefined,
  };
}

function verdictOfOurs({ outcome, status, body, challenge, decision, denied, upstream }: Observed): Verdict {
  // Who denied is read where operators read it.
  const { policy, rule } = (outcome === 'allowed' ? decision : denied) ?? {};
  return {
    outcome,
    status,
    body: hasIstioBody(status) ? body : undefined,
    challenge: comparable(challenge),
    policy,
    rule,
    audit: decision?.audit,
    dryRun: decision?.dryRun,
    path: upstream?.path,
    headers: upstream?.headers,
    forwardedClientCert: upstream?.forwardedClientCert?.replace(/Hash=[0-9a-f]{64}(?=;[^,]*$)/, 'Hash=*'),
  };
}

function readWorlds(): ReadonlyMap<DoorWorld, readonly DoorCase[]> {
  const worlds = new Map<DoorWorld, DoorCase[]>();
  for (const { world, entry } of present ? readInboundOracle(file) : []) {
    if (ofTheCodec.test(entry.expect.details ?? '')) continue;
    const cases = worlds.get(world as DoorWorld) ?? [];
    worlds.set(world as DoorWorld, [...cases, entry as DoorCase]);
  }
  return worlds;
}

interface Tried {
  readonly entry: DoorCase;
  readonly observed: Observed;
}

async function tryAll(manner: Manner, root: string): Promise<readonly Tried[]> {
  const worlds = readWorlds();
  const trustDomains = new Set<string>();
  for (const [world, cases] of worlds) {
    // All are written before the first is read: a mesh waits until a file it sees being written is quiet.
    writeWorld(join(root, world.world), world);
    for (const { connection } of cases)
      trustDomains.add(/^spiffe:\/\/([^/]+)/.exec(connection.peer ?? '')?.[1] ?? 'cluster.local');
  }
  const peers = createPeers();
  const tried: Tried[] = [];
  for (const [world, cases] of worlds) {
    const address = cases[0]?.connection.destinationIp ?? '';
    const open = await openWorld(world, { ...manner, directory: join(root, world.world), address, peers, trustDomains });
    for (const entry of cases) tried.push({ entry, observed: await open.tryCase(entry) });
    await open.close();
  }
  return tried;
}

const manners: [string, Manner][] = [
  ["with Istio's headers, each on a connection of its own", { istioHeaders: true, keepsConnections: false }],
  ["without Istio's headers, twice on shared connections", { istioHeaders: false, keepsConnections: true }],
];

describe.skipIf(!present).each(manners)(
  'requests decided by Istio and Envoy, at the door over real sockets %s',
  (title, manner) => {
    let tried: readonly Tried[] = [];
    let root = '';
    const excuses = new Map(exceptions.flatMap(({ reason, answer, cases }) => cases.map((name) => [name, { reason, answer }])));

    beforeAll(async () => {
      root = mkdtempSync(join(tmpdir(), 'enmesh-oracle-'));
      tried = await tryAll(manner, root);
    });
    afterAll(() => rmSync(root, { recursive: true, force: true }));

    const isAlike = ({ entry, observed }: Tried): boolean => {
      try {
        expect(verdictOfOurs(observed)).toEqual(verdictOfOracle(entry, manner));
        return true;
      } catch {
        return false;
      }
    };

    it('get the same answer, the same policy and rule, and reach the application alike', () => {
      const judged = tried.filter(({ entry }) => !excuses.has(entry.case));
      const reasons = exceptions.map(({ reason, cases }) => `${cases.length} ${reason}`).join('; ');
      const numbers = `${tried.length} compared, ${tried.filter(isAlike).length} agree, ${excuses.size} excused`;
      console.log(`door oracle ${title}: ${numbers} (${reasons})`);
      const byCase = (verdict: (one: Tried) => Verdict): Record<string, Verdict> =>
        Object.fromEntries(judged.map((one) => [one.entry.case, verdict(one)]));
      expect(judged.length).toBeGreaterThan(1000);
      expect(byCase(({ observed }) => verdictOfOurs(observed))).toEqual(byCase(({ entry }) => verdictOfOracle(entry, manner)));
    });

    it('are answered more strictly in the excused cases only, and there as listed', () => {
      const answers = tried
        .filter((one) => !isAlike(one))
        .map(({ entry, observed: { outcome, status } }) => [entry.case, outcome === 'denied' ? status : outcome]);
      expect(Object.fromEntries(answers)).toEqual(Object.fromEntries([...excuses].map(([name, { answer }]) => [name, answer])));
    });

    it('look the same to the application in rawHeaders, headersDistinct and headers', () => {
      const unlike = tried.filter(({ observed }) => (observed.unlike?.length ?? 0) > 0);
      expect(unlike.map(({ entry, observed }) => [entry.case, observed.unlike])).toEqual([]);
    });

    it('are told as refusals when they were refused by us, never when they were allowed', () => {
      const told = tried.filter(({ observed }) => observed.denied !== undefined).map(({ entry }) => entry.case);
      const wrong = tried.filter(({ entry, observed }) => told.includes(entry.case) !== (observed.outcome !== 'allowed'));
      // The one that Node's parser answers.
      expect(wrong.map(({ entry }) => entry.case)).toEqual(['p0041-018']);
    });
  },
);
