import { describeSource, type SourceDocument } from './document.js';
import { optional, selectorOf, type Draft } from './draft.js';
import { readFields, RefusedError, type Fields } from './fields.js';
import { convertJwt, jwtFields, requiredTokenNotes, requireTokenRules, triggerNote, triggersOf } from './jwt.js';
import type { Labels, Services } from './services.js';

const policyFields = ['targets', 'peers', 'peerIsOptional', 'origins', 'originIsOptional', 'principalBinding'];

/** Where a part of the policy holds: a namespace, or the workloads and ports of one target. */
interface Scope {
  readonly suffix: string;
  readonly labels: Labels | undefined;
  readonly ports: readonly string[] | undefined;
  readonly notes: readonly string[];
}

/** What {@link convertAuthenticationPolicy} needs to know beside the policy. */
export interface AuthenticationContext {
  readonly services: Services;
  readonly rootNamespace: string;
  /** The policies of the mesh and of whole namespaces: a narrower one used to replace them. */
  readonly broad: readonly SourceDocument[];
}

/**
 * One `Policy` or `MeshPolicy` (authentication.istio.io/v1alpha1): its peers as PeerAuthentication, its origins as RequestAuthentication with a DENY
 * policy where a token was needed. A MeshPolicy goes to `rootNamespace`.
 */
export function convertAuthenticationPolicy(source: SourceDocument, context: AuthenticationContext): Draft[] {
  const { services, rootNamespace } = context;
  const policy = readFields(source.spec, 'spec', policyFields);
  const namespace = source.kind === 'MeshPolicy' ? rootNamespace : source.namespace;
  const scopes = scopesOf(policy, source, services);
  const mode = modeOf(policy);
  const users = usersOf(policy);
  const broader = broaderNote(source, policy, context.broad);
  return scopes.flatMap((scope) => {
    const name = source.name + scope.suffix;
    const peer = peerDraft({ namespace, name, scope, mode });
    return [{ ...peer, notes: [...peer.notes, ...broader] }, ...userDrafts({ namespace, name, scope, users })];
  });
}

/** Said of a policy below another one that verifies tokens: it used to replace that one whole, and today the two add up. */
function broaderNote(source: SourceDocument, policy: Fields, broad: readonly SourceDocument[]): readonly string[] {
  if (source.kind === 'MeshPolicy') return [];
  const above = broad.filter(
    (one) => one.kind === 'MeshPolicy' || (policy.has('targets') && one.namespace === source.namespace && one !== source),
  );
  const verifying = above.filter((one) => ((one.spec ?? {}) as { origins?: unknown }).origins !== undefined);
  return verifying.map(
    (one) =>
      `it replaced ${describeSource(one)} here; today what that one asks of tokens holds here as well, so a request may need more than before`,
  );
}

function scopesOf(policy: Fields, source: SourceDocument, services: Services): readonly Scope[] {
  const targets = policy.each('targets', ['name', 'labels', 'ports']);
  if (source.kind === 'MeshPolicy' && targets.length > 0) {
    throw new RefusedError('spec.targets', 'a MeshPolicy had no targets; it held for the whole mesh');
  }
  if (targets.length > 0) {
    return targets.map((target) => scopeOf(target, source, services, targets.length > 1));
  }
  if (source.name !== 'default') {
    throw new RefusedError(
      'metadata.name',
      'a policy without targets was taken only under the name default; this one had no effect',
    );
  }
  return [{ suffix: '', labels: undefined, ports: undefined, notes: [] }];
}

function scopeOf(target: Fields, source: SourceDocument, services: Services, isOneOfMany: boolean): Scope {
  const name = target.text('name');
  if (name === undefined) throw new RefusedError(target.path, 'it names no service');
  const found = services.target(source.namespace, name);
  const notes = found.note === undefined ? [] : [found.note];
  const ports = target.each('ports', ['number', 'name']).map((port) => {
    const wanted = { ...optional('number', port.text('number')), ...optional('name', port.text('name')), path: port.path };
    const real = services.port(source.namespace, name, wanted);
    if (real.note !== undefined) notes.push(real.note);
    return real.port;
  });
  const labels = { ...found.labels, ...Object.fromEntries(target.entries('labels')) };
  return { suffix: isOneOfMany ? `-${name}` : '', labels, ports: ports.length === 0 ? undefined : ports, notes };
}

interface Mode {
  readonly mode: 'STRICT' | 'PERMISSIVE' | 'DISABLE';
  readonly notes: readonly string[];
}

function modeOf(policy: Fields): Mode {
  const isOptional = policy.flag('peerIsOptional');
  const peers = policy.each('peers', ['mtls', 'jwt']);
  const jwt = peers.find((peer) => peer.has('jwt'));
  if (jwt !== undefined) throw new RefusedError(`${jwt.path}.jwt`, 'Istio never took a JWT for the identity of a peer');
  if (peers.length === 0) {
    return {
      mode: 'DISABLE',
      notes: ['a policy without peers had mutual TLS switched off, and so it is here; STRICT is what you probably want'],
    };
  }
  const mtls = peers[0]!.map('mtls', ['mode', 'allowTls']);
  if (peers.length > 1 || mtls === undefined) throw new RefusedError('spec.peers', 'must be one entry with mtls');
  const notes: string[] = [];
  if (mtls.flag('allowTls')) notes.push('allowTls took TLS without a client certificate, which no mode takes any more');
  const written = mtls.text('mode') ?? 'STRICT';
  if (written !== 'STRICT' && written !== 'PERMISSIVE')
    throw new RefusedError('spec.peers[0].mtls.mode', 'must be STRICT or PERMISSIVE');
  if (!isOptional || written === 'PERMISSIVE') return { mode: written, notes };
  return { mode: 'PERMISSIVE', notes: [...notes, 'peerIsOptional is the mode PERMISSIVE'] };
}

interface Users {
  readonly rules: readonly unknown[];
  readonly isRequired: boolean;
  readonly triggers: readonly Readonly<Record<string, unknown>>[] | undefined;
  readonly notes: readonly string[];
}

function usersOf(policy: Fields): Users | undefined {
  const jwts = policy.each('origins', ['jwt']).map((origin) => {
    const jwt = origin.map('jwt', jwtFields);
    if (jwt === undefined) throw new RefusedError(origin.path, 'an origin is a jwt');
    return jwt;
  });
  const binding = policy.text('principalBinding') ?? 'USE_PEER';
  if (binding !== 'USE_PEER' && binding !== 'USE_ORIGIN')
    throw new RefusedError('spec.principalBinding', 'must be USE_PEER or USE_ORIGIN');
  if (jwts.length === 0) return undefined;
  const converted = jwts.map((jwt) => convertJwt(jwt));
  const notes = [...new Set(converted.flatMap((one) => one.notes))];
  if (binding === 'USE_ORIGIN') {
    notes.push(
      'principalBinding has no successor: principals is the peer, requestPrincipals the user, and a rule may ask for both',
    );
  }
  const triggers = triggersOf(jwts);
  if (triggers !== undefined) notes.push(triggerNote);
  return { rules: converted.map((one) => one.rule), isRequired: !policy.flag('originIsOptional'), triggers, notes };
}

interface Place {
  readonly namespace: string;
  readonly name: string;
  readonly scope: Scope;
}

function peerDraft(o: Place & { mode: Mode }): Draft {
  const { mode } = o.mode;
  const spec =
    o.scope.ports === undefined
      ? { mtls: { mode } }
      : { portLevelMtls: Object.fromEntries(o.scope.ports.map((port) => [port, { mode }])) };
  return {
    kind: 'PeerAuthentication',
    namespace: o.namespace,
    name: o.name,
    spec: { ...selectorOf(o.scope.labels), ...spec },
    notes: [...o.scope.notes, ...o.mode.notes],
  };
}

function userDrafts({ namespace, name, scope, users }: Place & { users: Users | undefined }): Draft[] {
  if (users === undefined) return [];
  const selector = selectorOf(scope.labels);
  const onPorts = 'tokens are verified on every port of the workload: RequestAuthentication knows no ports';
  const notes = [...users.notes, ...(scope.ports === undefined ? [] : [onPorts])];
  const verify: Draft = { kind: 'RequestAuthentication', namespace, name, spec: { ...selector, jwtRules: users.rules }, notes };
  if (!users.isRequired) return [verify];
  return [
    verify,
    {
      kind: 'AuthorizationPolicy',
      namespace,
      name: `${name}-require-token`,
      spec: { ...selector, action: 'DENY', rules: requireTokenRules(users.triggers, scope.ports) },
      notes: requiredTokenNotes,
    },
  ];
}
