import type { AuthorizationPolicy, PolicyCondition, PolicyRule } from '../../policy/resource.js';
import type { TlsMode } from '../../tls/mode.js';

/** A port of the workload with its mode and the PeerAuthentication that decided it; port 0 stands for all that are not named. */
export interface PortMode {
  readonly port: number;
  readonly mode: TlsMode;
  readonly source: string | undefined;
}

/** A doubt about one field: where it stands in the document, and what is wrong. */
export interface ClearDoubt {
  readonly path: string;
  readonly message: string;
}

const positive = ['principals', 'namespaces', 'serviceAccounts', 'trustDomains'] as const;
const negative = ['notPrincipals', 'notNamespaces', 'notServiceAccounts', 'notTrustDomains'] as const;
const peerKeys = ['source.principal', 'source.namespace', 'source.serviceAccount', 'source.trustDomain'];

const isAsked = (values: readonly string[] | undefined): boolean => values !== undefined && values.length > 0;

/**
 * What to look for in a policy where callers come in the clear. `findsDead`: also for rules of an ALLOW that never match, where some port speaks nothing
 * but plaintext; in a policy for all workloads they may be meant for others.
 */
export interface ClearText {
  readonly action: 'ALLOW' | 'DENY';
  readonly findsDead: boolean;
  readonly ports: readonly PortMode[];
}

/** What there is to ask of a policy's rules; undefined where none of them can be doubtful. */
export function clearTextOf({ spec }: AuthorizationPolicy, ports: readonly PortMode[]): ClearText | undefined {
  const { action = 'ALLOW' } = spec;
  if ((action !== 'ALLOW' && action !== 'DENY') || ports.every(({ mode }) => mode === 'STRICT')) return undefined;
  const isForThese = Object.keys(spec.selector?.matchLabels ?? {}).length > 0;
  return { action, findsDead: isForThese && ports.some(({ mode }) => mode === 'DISABLE'), ports };
}

/**
 * Fields of a rule that ask for the identity of the caller, which only mutual TLS tells, where callers come in the clear (istio-semantics 3.4): there
 * a DENY with such a field does not hold, an ALLOW with only its negation holds for everybody, and where all is plaintext a rule that asks for it is dead.
 */
export function findClearDoubts(rule: PolicyRule, at: string, { action, findsDead, ports }: ClearText): readonly ClearDoubt[] {
  const conditions = rule.when?.find(({ key, values }) => isAsked(values) && peerKeys.includes(key));
  const excluding = rule.when?.find(({ key, notValues }) => isAsked(notValues) && peerKeys.includes(key));
  const doubts: ClearDoubt[] = [];
  let clear: readonly PortMode[] | undefined;
  for (const [nth, { source }] of (rule.from?.length ? rule.from : anySource).entries()) {
    const wanted = positive.find((name) => isAsked(source[name]));
    const unwanted = negative.find((name) => isAsked(source[name]));
    const asks = wanted !== undefined || conditions !== undefined;
    if (!asks && unwanted === undefined && excluding === undefined) continue;
    if (action === (asks ? 'ALLOW' : 'DENY') && !(asks && findsDead)) continue;
    clear ??= clearOf(portsOf(rule, ports));
    const doubtful = action === 'ALLOW' && asks ? clear.filter(({ mode }) => mode === 'DISABLE') : clear;
    if (doubtful.length === 0) continue;
    const field = asks ? wanted : unwanted;
    const condition = asks ? conditions : excluding;
    const path =
      field === undefined
        ? `${at}.when[${rule.when?.indexOf(condition as PolicyCondition)}].${asks ? 'values' : 'notValues'}`
        : `${at}.from[${nth}].source.${field}`;
    doubts.push({ path, message: `${asks ? asked[action] : held}: ${formatPorts(doubtful)}` });
  }
  return doubts;
}

/** The ports that take callers in the clear; while it is not known which are listened on, none unless all are alike. */
function clearOf(ports: readonly PortMode[]): readonly PortMode[] {
  const clear = ports.filter(({ mode }) => mode !== 'STRICT');
  return clear.length < ports.length && ports.some(({ port }) => port === 0) ? [] : clear;
}

const anySource: NonNullable<PolicyRule['from']> = [{ source: {} }];
const asked = {
  DENY: 'does not deny callers in the clear, who have no identity',
  ALLOW: 'never matches in the clear, and nothing else is spoken',
};
const held = 'also holds for callers in the clear, who have no identity';

/** The ports that a rule speaks of: all, unless each of its operations names some. */
function portsOf({ to }: PolicyRule, ports: readonly PortMode[]): readonly PortMode[] {
  if (to === undefined || to.length === 0 || to.some(({ operation }) => !isAsked(operation.ports))) return ports;
  const named = new Set(to.flatMap(({ operation }) => operation.ports ?? []).map(Number));
  const others = ports.find(({ port }) => port === 0);
  const known = ports.filter(({ port }) => named.has(port));
  const rest = [...named].filter((port) => !known.some((one) => one.port === port));
  return [...known, ...(others === undefined ? [] : rest.map((port) => ({ ...others, port })))];
}

function formatPorts(ports: readonly PortMode[]): string {
  const named = ports.slice(0, 5).map(({ port, mode, source }) => {
    const name = port === 0 ? (ports.length > 1 ? 'every other port' : 'every port') : `port ${port}`;
    return `${name} is ${mode} (${source ?? "Istio's default"})`;
  });
  return [...named, ...(ports.length > 5 ? [`and ${ports.length - 5} more`] : [])].join(', ');
}
