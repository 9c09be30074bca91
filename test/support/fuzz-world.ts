import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { parseAllDocuments } from 'yaml';
import type { ReferenceRequest, ReferenceWorld } from '../reference/linear.js';
import type { MeshFields } from '../reference/world.js';
import type { ReferenceConnection } from '../reference/peer-authentication.js';
import { randomWorld } from '../reference/random.js';
import { claimNames, issuers, texts, type Dice } from '../reference/random-values.js';
import { randomKeySet } from './fuzz-token.js';
import { twistValue } from './fuzz-values.js';

/** A document as YAML has it. */
export interface RawDocument {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly spec?: unknown;
}

/** A request with the connection it comes by. */
export interface FuzzCase {
  readonly connection: ReferenceConnection;
  readonly request: ReferenceRequest;
}

/** A world to ask: documents one by one, so that those which are refused can be left out. */
export interface FuzzWorld {
  readonly workload: ReferenceWorld['workload'];
  readonly mesh: MeshFields;
  readonly documents: readonly RawDocument[];
}

/** A recorded world with its cases. */
export interface RecordedWorld extends FuzzWorld {
  readonly cases: readonly FuzzCase[];
}

/** The recorded worlds; none where there is no recording. */
export function readRecording(): readonly RecordedWorld[] {
  const oracle = process.env['ENMESH_ORACLE'] ?? resolve(import.meta.dirname, '../../../shared/oracle');
  const file = resolve(oracle, 'inbound.ndjson.gz');
  return existsSync(file) ? parseRecording(gunzipSync(readFileSync(file)).toString('utf8')) : [];
}

/** The worlds and cases of a recording (NDJSON). */
function parseRecording(text: string): readonly RecordedWorld[] {
  const worlds: (RecordedWorld & { cases: FuzzCase[] })[] = [];
  for (const line of text.trimEnd().split('\n')) {
    const value = JSON.parse(line) as FuzzCase & ReferenceWorld & { world?: string };
    if (value.world === undefined) {
      // A codec that takes what is behind a method for part of it answers by itself.
      const { connection, request } = value;
      if (/^\S+$/.test(request.method)) worlds.at(-1)?.cases.push({ connection, request });
    } else {
      const documents = parseAllDocuments(value.documents)
        .map((document) => document.toJS() as RawDocument | null)
        .filter((document) => document !== null);
      worlds.push({ workload: value.workload, mesh: value.mesh, documents, cases: [] });
    }
  }
  return worlds;
}

const security = 'security.istio.io/v1';

/** Policies of a wholly random world. */
function randomPolicies(dice: Dice, namespace: string): RawDocument[] {
  const { policies } = randomWorld(1 + dice.below(1_000_000) * 8, 0);
  return policies.slice(0, 8).map(({ kind, namespace: other, name, annotations, spec }) => ({
    apiVersion: security,
    kind,
    metadata: { name, namespace: dice.isOneIn(3) ? other : namespace, annotations, ...timestamp(dice) },
    spec,
  }));
}

const timestamp = (dice: Dice): object =>
  dice.isOneIn(2) ? {} : { creationTimestamp: `202${dice.below(3)}-01-01T00:00:0${dice.below(2)}Z` };

const listOf = <Item>(dice: Dice, most: number, make: () => Item): Item[] => dice.list(1, most, make);

/** A rule for tokens with places, outputs and lists that brush against each other. */
function randomJwtRule(dice: Dice): object {
  const maybe = (name: string, make: () => unknown): object => (dice.isOneIn(3) ? { [name]: make() } : {});
  const header = (): string => dice.pick(['x-jwt', 'X-Jwt', 'authorization', 'x-out', 'cookie']);
  const output = (): string => dice.pick(['x-out', 'X-Out', 'x-payload', 'x-jwt', 'x-role']);
  const claim = (): string =>
    dice.pick(['sub', 'aud', 'groups', 'role', 'deep.er', 'a.b', 'exp', 'scope', 'nope', 'iss', 'deep']);
  return {
    issuer: dice.pick(issuers.filter((one) => one !== '')),
    jwks: randomKeySet(dice),
    ...maybe('audiences', () => listOf(dice, 2, () => dice.pick(['admin', 'https://a/', 'a', 'b']))),
    ...maybe('fromHeaders', () =>
      listOf(dice, 2, () => ({ name: header(), ...maybe('prefix', () => dice.pick(['Bearer ', 'B', 'A ', ''])) })),
    ),
    ...maybe('fromParams', () => listOf(dice, 2, () => dice.pick(['access_token', 't', 'a b', 'é']))),
    ...maybe('fromCookies', () => listOf(dice, 2, () => dice.pick(['t', 'token', 'T']))),
    ...maybe('outputPayloadToHeader', output),
    ...maybe('outputClaimToHeaders', () => listOf(dice, 3, () => ({ header: output(), claim: claim() }))),
    ...maybe('forwardOriginalToken', () => dice.isOneIn(2)),
    ...maybe('spaceDelimitedClaims', () =>
      listOf(dice, 2, () => dice.pick(['sub', 'iss', 'aud', 'azp', 'role', 'groups', 'deep', 'a.b'])),
    ),
  };
}

function randomAuthentication(dice: Dice, namespace: string, name: string): RawDocument {
  const jwtRules = dice.list(dice.isOneIn(10) ? 0 : 1, 2, () => randomJwtRule(dice));
  return {
    apiVersion: security,
    kind: 'RequestAuthentication',
    metadata: { name, namespace, ...timestamp(dice) },
    spec: { jwtRules },
  };
}

/** A condition on users, so that tokens decide. */
function randomUserPolicy(dice: Dice, namespace: string, name: string): RawDocument {
  const values = listOf(dice, 2, () => dice.pick(texts.filter((one) => one !== '')));
  const key = dice.pick([
    ...claimNames.map((one) => `request.auth.claims${one}`),
    'request.auth.audiences',
    'request.auth.presenter',
    'request.auth.claims[sub]',
    'request.headers[x-out]',
    'request.headers[x-payload]',
  ]);
  const principals = listOf(dice, 2, () => `${dice.pick(issuers)}/${dice.pick(['*', 'alice', 'al*', 'a b'])}`);
  const rule = dice.pick([
    { when: [{ key, [dice.pick(['values', 'values', 'notValues'])]: values }] },
    { from: [{ source: { [dice.pick(['requestPrincipals', 'requestPrincipals', 'notRequestPrincipals'])]: principals } }] },
    { from: [{ source: { requestPrincipals: ['*'] } }] },
  ]);
  const action = dice.pick(['ALLOW', 'DENY', 'AUDIT']);
  return {
    apiVersion: security,
    kind: 'AuthorizationPolicy',
    metadata: { name, namespace, ...timestamp(dice) },
    spec: { action, rules: [rule] },
  };
}

function randomPeerAuthentication(
  dice: Dice,
  { namespace, labels }: FuzzWorld['workload'],
  root: string,
  name: string,
): RawDocument {
  const mode = (): object => ({ mode: dice.pick(['STRICT', 'PERMISSIVE', 'PERMISSIVE', 'PERMISSIVE', 'DISABLE', 'UNSET']) });
  const isOwn = dice.isOneIn(3);
  const spec = {
    ...(!dice.isOneIn(5) && { mtls: mode() }),
    ...(isOwn && { selector: { matchLabels: dice.isOneIn(4) ? { app: 'other' } : labels } }),
    ...(isOwn && dice.isOneIn(2) && { portLevelMtls: { [dice.pick([8080, 9090])]: mode() } }),
  };
  const metadata = { name, namespace: dice.pick([namespace, namespace, root, 'other']), ...timestamp(dice) };
  return { apiVersion: security, kind: 'PeerAuthentication', metadata, spec };
}

/** Documents with some of their values changed. */
function twistDocument(dice: Dice, document: RawDocument, namespace: string): RawDocument {
  if (document.kind !== 'AuthorizationPolicy') return document;
  const change = (value: unknown, isValue: boolean): unknown => {
    if (typeof value === 'string') return isValue && dice.isOneIn(4) ? twistValue(dice, value) : value;
    if (Array.isArray(value)) return value.map((one) => change(one, true));
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(
      Object.entries(value).map(([name, inner]) => [flip(dice, name), change(inner, Array.isArray(inner))]),
    );
  };
  const spec = change(document.spec, false) as { action?: string };
  const action = dice.isOneIn(4) ? { action: dice.pick(['ALLOW', 'DENY', 'AUDIT']) } : {};
  const isMoved = dice.isOneIn(3);
  return { ...document, metadata: { ...document.metadata, ...(isMoved && { namespace }) }, spec: { ...spec, ...action } };
}

/** Turns a field into its negation and back, now and then. */
function flip(dice: Dice, name: string): string {
  if (!dice.isOneIn(10)) return name;
  if (/^(principals|requestPrincipals|namespaces|ipBlocks|remoteIpBlocks|hosts|ports|methods|paths|values)$/.test(name))
    return `not${(name[0] as string).toUpperCase()}${name.slice(1)}`;
  return name.replace(/^not([A-Z])/, (_, letter: string) => letter.toLowerCase());
}

function randomMesh(dice: Dice, given: MeshFields): MeshFields {
  const normalization = dice.pick(['DEFAULT', 'NONE', 'BASE', 'MERGE_SLASHES', 'DECODE_AND_MERGE_SLASHES', undefined]);
  return {
    ...given,
    ...(normalization && dice.isOneIn(2) && { pathNormalization: { normalization } }),
    ...(dice.isOneIn(8) && { trustDomain: dice.pick(['cluster.local', 'prod.example', 'mesh.example']) }),
    ...(dice.isOneIn(4) && { trustDomainAliases: dice.list(0, 2, () => dice.pick(['old.example', 'local', 'cluster.local'])) }),
    ...(dice.isOneIn(8) && { rootNamespace: dice.pick(['istio-system', 'shop', 'config']) }),
  };
}

/** A world: a recorded one changed, two crossed, or one of its own making. */
export function makeWorld(dice: Dice, recorded: readonly RecordedWorld[]): FuzzWorld {
  const own = { namespace: 'shop', serviceAccount: 'product', labels: { app: 'api', version: 'v1' } };
  const base = recorded.length > 0 && !dice.isOneIn(4) ? dice.pick(recorded) : { workload: own, mesh: {}, documents: [] };
  const { workload } = base;
  const mesh = randomMesh(dice, base.mesh);
  const { namespace } = workload;
  const other = recorded.length > 0 && dice.isOneIn(2) ? dice.pick(recorded).documents : [];
  const given = dice.isOneIn(6)
    ? base.documents
    : [...base.documents, ...other].map((one) => twistDocument(dice, one, namespace));
  const root = mesh.rootNamespace ?? 'istio-system';
  const place = (): string => (dice.isOneIn(4) ? root : namespace);
  const documents = [
    ...given,
    ...(given.length === 0 || dice.isOneIn(4) ? randomPolicies(dice, namespace) : []),
    ...(dice.isOneIn(3) ? dice.list(1, 2, () => randomAuthentication(dice, place(), `r${dice.below(9)}`)) : []),
    ...(dice.isOneIn(3) ? dice.list(1, 2, () => randomUserPolicy(dice, place(), `u${dice.below(9)}`)) : []),
    ...(dice.isOneIn(5) ? dice.list(1, 3, () => randomPeerAuthentication(dice, workload, root, `m${dice.below(9)}`)) : []),
  ];
  return { workload, mesh, documents };
}
