import { isDeepStrictEqual } from 'node:util';
import type { PeerIdentity, RequestIdentity } from '../../packages/core/src/identity/caller.js';
import { compilePolicies, type PolicySet } from '../../packages/core/src/policy/compile.js';
import { evaluatePolicies, type Decision } from '../../packages/core/src/policy/evaluate.js';
import type { AuthorizationPolicy } from '../../packages/core/src/policy/resource.js';
import type { RequestAttributes } from '../../packages/core/src/request/attributes.js';
import { decide, type Facts } from '../reference/authorization-policy.js';
import { randomWorld, type RandomWorld } from '../reference/random.js';
import type { Claims } from '../reference/token.js';

function peerOf(uri: string): PeerIdentity {
  const [, trustDomain = '', path = ''] = /^spiffe:\/\/([^/]*)(.*)$/.exec(uri) ?? [];
  const [, namespace, serviceAccount] = /^\/ns\/([^/]+)\/sa\/([^/]+)$/.exec(path) ?? [];
  return {
    spiffeId: { uri, trustDomain, path },
    uri,
    principal: uri.slice('spiffe://'.length),
    trustDomain,
    namespace,
    serviceAccount,
    certificateSha256: '',
    subject: '',
    dnsNames: [],
    notAfter: 0,
  };
}

function userOf(claims: Claims): RequestIdentity {
  const text = (name: string): string | undefined => (typeof claims[name] === 'string' ? claims[name] : undefined);
  const [issuer, subject] = [text('iss'), text('sub')];
  return {
    principal: issuer !== undefined && subject !== undefined ? `${issuer}/${subject}` : undefined,
    issuer,
    subject,
    audiences: [claims['aud'] ?? []].flat() as string[],
    presenter: text('azp'),
    claims,
    payload: '',
    expiresAt: Infinity,
  };
}

/** The attributes that the door would make of the facts, for a router without spellings of its own. */
function attributesOf({ peer, claims, header, ...facts }: Facts): RequestAttributes {
  const lines = (name: string): readonly string[] | undefined => {
    const found = header(name);
    return found.length === 0 ? undefined : found;
  };
  return {
    ...facts,
    pathSpellings: [],
    pathIgnoresCase: false,
    peer: peer === undefined ? undefined : peerOf(peer),
    user: claims === undefined ? undefined : userOf(claims),
    header: lines,
  };
}

function compileWorld({ policies, target, mesh }: RandomWorld): PolicySet {
  const resources = policies.map(({ spec, kind, namespace, name, created, annotations }) => ({
    meta: {
      kind,
      namespace,
      name,
      labels: {},
      annotations,
      creationTimestamp: created,
      source: { file: '', line: 1, column: 1 },
    },
    spec,
  }));
  const { trustDomain = '', trustDomainAliases = [], rootNamespace = '' } = mesh;
  return compilePolicies(resources as unknown as readonly AuthorizationPolicy[], target, {
    trustDomain,
    trustDomainAliases,
    rootNamespace,
  });
}

const comparable = ({ allowed, policy, rule, audit, auditedBy, dryRun }: Omit<Decision, 'reason'>): object => ({
  allowed,
  policy,
  rule,
  audit,
  auditedBy,
  dryRun,
});

export const createTally = (): Tally => ({ pairs: 0, allowed: 0, named: 0, excused: 0 });

/** One line for people. */
export const formatTally = ({ pairs, allowed, named, excused }: Tally): string =>
  `policies against the reference: ${pairs} pairs, ${allowed} allowed, ${named} by a named rule, ${excused} excused`;

/** A request on which index and reference disagree. */
export interface Disagreement {
  readonly seed: number;
  readonly ours: object;
  readonly reference: object;
  /** The fewest policies and rules with which they still do, as JSON, and the request. */
  readonly smallest: string;
}

/** How decisions fell, so that a run of nothing but denials is seen. */
export interface Tally {
  pairs: number;
  allowed: number;
  named: number;
  /** Stricter than Istio on purpose where a match refuses: a lone `*` takes a claim with a line feed, `hosts` the bare host (docs/deviations.md). */
  excused: number;
}

function differ(world: RandomWorld, facts: Facts): { ours: object; reference: object } | undefined {
  const ours = comparable(evaluatePolicies(compileWorld(world), attributesOf(facts)));
  const reference = comparable(decide(world.policies, world.target, world.mesh, facts));
  return isDeepStrictEqual(ours, reference) ? undefined : { ours, reference };
}

/** The facts with the line feeds taken out of all claims. */
function withoutLineFeeds({ claims, ...facts }: Facts): Facts {
  const text = JSON.stringify(claims)?.replaceAll('\\n', '');
  return { ...facts, claims: text === undefined ? undefined : (JSON.parse(text) as Claims) };
}

/** The facts with the host as applications read it: without userinfo, port and trailing dot. */
function withBareHost({ host, ...facts }: Facts): Facts {
  return {
    ...facts,
    host: host
      .slice(host.lastIndexOf('@') + 1)
      .replace(/:\d*$/, '')
      .replace(/\.$/, ''),
  };
}

/** Whether nothing but a line feed or the rest of a host parts the two, and ours does not allow what Istio denies. */
function isExcused(world: RandomWorld, facts: Facts, ours: Decision, reference: { readonly allowed: boolean }): boolean {
  if (ours.allowed && !reference.allowed) return false;
  const alike = [withoutLineFeeds(facts), withBareHost(facts), withBareHost(withoutLineFeeds(facts))];
  return alike.some((other) => differ(world, other) === undefined);
}

/** Leaves policies and rules out for as long as the two still disagree. */
function shrink(world: RandomWorld, facts: Facts): RandomWorld {
  for (const [index, policy] of world.policies.entries()) {
    const without = { ...world, policies: world.policies.toSpliced(index, 1) };
    if (differ(without, facts) !== undefined) return shrink(without, facts);
    for (const at of (policy.spec.rules ?? []).keys()) {
      const spec = { ...policy.spec, rules: (policy.spec.rules ?? []).toSpliced(at, 1) };
      const lesser = { ...world, policies: world.policies.with(index, { ...policy, spec }) };
      if (spec.rules.length > 0 && differ(lesser, facts) !== undefined) return shrink(lesser, facts);
    }
  }
  return world;
}

/** Asks index and reference about each request of a seed's world; the first disagreement, made small. */
export function checkSeed(seed: number, tally: Tally): Disagreement | undefined {
  const world = randomWorld(seed);
  const set = compileWorld(world);
  for (const facts of world.requests) {
    const ours = evaluatePolicies(set, attributesOf(facts));
    const reference = decide(world.policies, world.target, world.mesh, facts);
    tally.pairs += 1;
    tally.allowed += Number(ours.allowed);
    tally.named += Number(ours.policy !== undefined);
    if (isDeepStrictEqual(comparable(ours), comparable(reference))) continue;
    if (isExcused(world, facts, ours, reference)) {
      tally.excused += 1;
      continue;
    }
    const { policies, target, mesh } = shrink(world, facts);
    const headers = ['x-role', 'accept', ':path'].map((name) => facts.header(name));
    const smallest = JSON.stringify({ policies, target, mesh, facts, headers });
    return { seed, ours: comparable(ours), reference: comparable(reference), smallest };
  }
  return undefined;
}

/** Checks seeds until `pairs` are judged, every `step`th from `first` on; up to five disagreements. */
export function checkSeeds(first: number, step: number, pairs: number): { tally: Tally; disagreements: readonly Disagreement[] } {
  const tally: Tally = createTally();
  const disagreements: Disagreement[] = [];
  for (let seed = first; tally.pairs < pairs && disagreements.length < 5; seed += step) {
    const found = checkSeed(seed, tally);
    if (found !== undefined) disagreements.push(found);
  }
  return { tally, disagreements };
}
