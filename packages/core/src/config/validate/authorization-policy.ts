import type { AuthorizationPolicySpec, PolicyOperation, PolicyRule, PolicySource } from '../../policy/resource.js';
import { childOf, placeAt, warnAt, type Place } from '../place.js';
import { quote } from '../problem.js';
import { invalidAt, listOf, oneOf, record, refined, text, type Bounds, type Shape } from '../shape.js';
import { spellingHint } from '../spelling.js';
import { condition } from './conditions.js';
import { warnContradictions } from './contradiction.js';
import { findHostDoubt } from './doubtful-host.js';
import { warnDoubtfulPath } from './doubtful-path.js';
import { findPathFault } from './path-template.js';

import { checkAttachment, targetRef, targetRefs, workloadSelector } from './selector.js';
import { findPrincipalDoubt, findServiceAccountFault, findTrustDomainFault } from './source-values.js';
import { findHostBits, isIpBlock, isPortText } from './values.js';

const value = text({ min: 1 });
const values = listOf(value);

function valuesWith(findFault: (value: string) => string | undefined, bounds: Bounds = {}): Shape<readonly string[]> {
  return listOf(
    refined(value, (one, place) => {
      const fault = findFault(one);
      if (fault !== undefined) invalidAt(place, fault);
    }),
    bounds,
  );
}

/** A value that can never match leaves a DENY without effect, so it is worth a warning though Istio admits it in silence. */
function valuesWarned(findDoubt: (value: string) => string | undefined): Shape<readonly string[]> {
  return listOf(
    refined(value, (one, place) => {
      const doubt = findDoubt(one);
      if (doubt !== undefined) warnAt(place, 'ENMESH_CONFIG_DOUBTFUL', doubt);
    }),
  );
}

const principals = valuesWarned(findPrincipalDoubt);
const namespaces = valuesWarned((one) =>
  one.includes('/') ? 'never matches: a namespace is written alone, without "ns/" and without a service account' : undefined,
);
const serviceAccounts = valuesWith(findServiceAccountFault, { max: 16 });
const trustDomains = valuesWith((one) => findTrustDomainFault(one));
const ipBlocks = listOf(
  refined(value, (one, place) => {
    if (!isIpBlock(one)) return void invalidAt(place, `${quote(one)} is no IP address or CIDR range`);
    const doubt = findHostBits(one);
    if (doubt !== undefined) warnAt(place, 'ENMESH_CONFIG_DOUBTFUL', doubt);
  }),
);
const ports = valuesWith((one) => (isPortText(one) ? undefined : `${quote(one)} is no port (0 to 65535)`));
const methods = valuesWarned((one) =>
  /[a-z]/.test(one) && one === one.toLowerCase() ? 'never matches: methods are in capitals' : undefined,
);
const paths = listOf(
  refined(value, (one, place) => {
    const fault = findPathFault(one);
    if (fault !== undefined) invalidAt(place, fault);
    else if (/^[/*]/.test(one)) warnDoubtfulPath(one, place);
    else warnAt(place, 'ENMESH_CONFIG_DOUBTFUL', 'never matches: a path begins with a slash');
  }),
);
const hosts = valuesWarned(findHostDoubt);

const sourceFields = record<PolicySource>({
  principals,
  notPrincipals: principals,
  requestPrincipals: values,
  notRequestPrincipals: values,
  namespaces,
  notNamespaces: namespaces,
  serviceAccounts,
  notServiceAccounts: serviceAccounts,
  trustDomains,
  notTrustDomains: trustDomains,
  ipBlocks,
  notIpBlocks: ipBlocks,
  remoteIpBlocks: ipBlocks,
  notRemoteIpBlocks: ipBlocks,
});

const operationFields = record<PolicyOperation>({
  hosts,
  notHosts: hosts,
  ports,
  notPorts: ports,
  methods,
  notMethods: methods,
  paths,
  notPaths: paths,
});

/** Whether a source or operation asks for anything: Istio refuses one whose lists are all empty, for it would match everything. */
function demandSomething(_value: object, place: Place): void {
  const { node } = place;
  const asksSomething =
    node.kind === 'map' && node.entries.some((entry) => entry.value.kind !== 'list' || entry.value.items.length > 0);
  if (!asksSomething) invalidAt(place, 'must not be empty', 'leave the entry out to match everything');
}

const source = refined(sourceFields, (fields, place) => {
  demandSomething(fields, place);
  warnContradictions(fields, place);
  const accounts = fields.serviceAccounts ?? fields.notServiceAccounts;
  const others = fields.principals ?? fields.notPrincipals ?? fields.namespaces ?? fields.notNamespaces;
  if (accounts !== undefined && others !== undefined) {
    invalidAt(
      place,
      'serviceAccounts cannot be combined with principals or namespaces in one source',
      'write a second entry of `from`',
    );
  }
});
const operation = refined(operationFields, (fields, place) => {
  demandSomething(fields, place);
  warnContradictions(fields, place);
});

const ruleFields = record<PolicyRule>({
  from: listOf(record<{ source: PolicySource }>({ source }, { required: ['source'] }), { max: 512 }),
  to: listOf(record<{ operation: PolicyOperation }>({ operation }, { required: ['operation'] })),
  when: listOf(condition),
});

const rule = refined(ruleFields, (_rule, place) => {
  for (const field of ['from', 'to', 'when']) {
    const list = childOf(place, field);
    if (list?.node.kind === 'list' && list.node.items.length === 0) {
      warnAt(
        list,
        'ENMESH_CONFIG_DOUBTFUL',
        `an empty \`${field}\` restricts nothing: the rule matches as if it were absent`,
        'remove it, or fill it',
      );
    }
  }
});

const specFields = record<AuthorizationPolicySpec>({
  selector: workloadSelector,
  targetRef,
  targetRefs,
  action: oneOf('ALLOW', 'DENY', 'AUDIT', 'CUSTOM'),
  provider: record<{ name: string }>({ name: text() }),
  rules: listOf(rule, { max: 512 }),
});

/**
 * `spec` of AuthorizationPolicy with Istio's validation (istio-semantics 3.3 and 3.14). Stricter: DENY and CUSTOM with `rules: []` are refused as
 * without rules.
 */
export const authorizationPolicySpec: Shape<AuthorizationPolicySpec> = refined(specFields, (spec, place) => {
  checkAttachment(spec, place);
  const action = spec.action ?? 'ALLOW';
  if (action === 'CUSTOM') {
    checkCustom(spec, place);
  } else if (spec.provider !== undefined) {
    invalidAt(placeAt(place, 'provider'), `only action CUSTOM has a provider, found ${action}`);
  }
  if ((action === 'DENY' || action === 'CUSTOM') && isEmptyList(placeAt(place, 'rules'))) {
    invalidAt(placeAt(place, 'rules'), `${action} without rules never matches`, 'write `rules: [{}]` to match every request');
  }
});

/** What the caller's identity or token says cannot decide whether to ask: CUSTOM comes before both are looked at (istio-semantics 3.14, item 2). */
const notForCustom: readonly (keyof PolicySource)[] = [
  'namespaces',
  'notNamespaces',
  'serviceAccounts',
  'notServiceAccounts',
  'trustDomains',
  'notTrustDomains',
  'principals',
  'notPrincipals',
  'requestPrincipals',
  'notRequestPrincipals',
];
const keyNotForCustom = /^(source\.(namespace|serviceAccount|trustDomain|principal)$|request\.auth\.)/;

function checkCustom(spec: AuthorizationPolicySpec, place: Place): void {
  if ((spec.provider?.name ?? '') === '') {
    const hint = 'name one of extensionProviders in enmesh/mesh.yaml';
    invalidAt(placeAt(place, 'provider', 'name'), 'action CUSTOM needs `provider.name`', hint);
  } else {
    warnUnknownProvider(spec.provider?.name ?? '', placeAt(place, 'provider', 'name'));
  }
  const hint = 'ask for it in a DENY or ALLOW policy, or let the authorizer judge it';
  spec.rules?.forEach((one, index) => {
    const at = placeAt(place, 'rules', index);
    one.from?.forEach((from, nth) => {
      for (const field of notForCustom)
        if (from.source[field] !== undefined)
          invalidAt(placeAt(at, 'from', nth, 'source', field), `${field} is not supported with action CUSTOM`, hint);
    });
    one.when?.forEach(({ key }, nth) => {
      if (keyNotForCustom.test(key))
        invalidAt(placeAt(at, 'when', nth, 'key'), `${quote(key)} is not supported with action CUSTOM`, hint);
    });
  });
}

/** Istio admits a provider that nobody defines, and denies what the rules match (istio-semantics 3.13). */
function warnUnknownProvider(name: string, place: Place): void {
  place.report.whenMeshIsKnown(({ extensionProviders }) => {
    const known = extensionProviders.map((one) => one.name);
    if (known.includes(name)) return;
    const message = `extensionProviders of enmesh/mesh.yaml has no authorizer ${quote(name)}, so what the rules match is denied`;
    warnAt(place, 'ENMESH_CONFIG_DOUBTFUL', message, spellingHint(name, known));
  });
}

function isEmptyList({ node }: Place): boolean {
  return node.kind === 'list' ? node.items.length === 0 : node.kind === 'map';
}

/** Go's strconv.ParseBool, which Istio reads the annotation with. */
const booleanWords = ['1', 't', 'T', 'true', 'TRUE', 'True', '0', 'f', 'F', 'false', 'FALSE', 'False'];

/** Checks annotation `istio.io/dry-run`: a boolean as Go reads it, on ALLOW and DENY only (istio-semantics 3.12). `place` is the annotation's. */
export function checkDryRun(annotation: string, action: AuthorizationPolicySpec['action'], place: Place): void {
  if (!booleanWords.includes(annotation)) invalidAt(place, `${quote(annotation)} is no boolean`, 'write "true" or "false"');
  if (action === 'AUDIT' || action === 'CUSTOM') invalidAt(place, `dry-run is only for ALLOW and DENY, found ${action}`);
}
