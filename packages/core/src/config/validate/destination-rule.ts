import type { ClientTlsSettings, ConnectionPool, DestinationRuleSpec, TrafficPolicy } from '../registry.js';
import { placeAt, warnAt, type Place } from '../place.js';
import { decimal, flag, integer, invalidAt, listOf, oneOf, record, refined, text, type Shape } from '../shape.js';
import { quote } from '../problem.js';
import { matchLabels } from './selector.js';
import { exportTo } from './export-to.js';
import { isIstioLabel, workloadLabels } from './labels.js';
import { duration, isHostPattern } from './values.js';

const filled = text({ min: 1 });

const tlsFields = record<ClientTlsSettings>({
  mode: oneOf('DISABLE', 'SIMPLE', 'MUTUAL', 'ISTIO_MUTUAL'),
  clientCertificate: text(),
  privateKey: text(),
  caCertificates: text(),
  credentialName: text(),
  subjectAltNames: listOf(filled),
  sni: text(),
  insecureSkipVerify: flag,
  caCrl: text(),
});

/** Istio's validation of `tls` (istio-semantics 5.1). ISTIO_MUTUAL ignores the files of other modes, so they are not looked at there. */
const tls = refined(tlsFields, (settings, place) => {
  if (settings.insecureSkipVerify === true && (settings.mode === 'SIMPLE' || settings.mode === 'MUTUAL')) {
    for (const field of ['caCertificates', 'credentialName', 'subjectAltNames'] as const) {
      // The credential of MUTUAL may be no more than the client's own.
      if (field === 'credentialName' && settings.mode === 'MUTUAL') continue;
      if ((settings[field]?.length ?? 0) > 0) invalidAt(placeAt(place, field), `cannot be combined with insecureSkipVerify`);
    }
  }
  if (settings.mode !== 'SIMPLE' && settings.mode !== 'MUTUAL') return;
  const files = (['clientCertificate', 'privateKey', 'caCertificates'] as const).filter(
    (field) => (settings[field] ?? '') !== '',
  );
  if ((settings.credentialName ?? '') !== '') {
    if (files.length > 0) invalidAt(placeAt(place, files[0]!), `cannot be combined with credentialName`);
  } else if (settings.mode === 'MUTUAL') {
    for (const field of ['clientCertificate', 'privateKey'] as const) {
      if (!files.includes(field))
        invalidAt(place, `mode MUTUAL needs ${field}`, "for the mesh's own identity write mode ISTIO_MUTUAL");
    }
  }
});

/** Fields known to Istio and not read here: their names are checked, their values are not. */
const known = (...names: string[]): Shape<never> => {
  const check = record<object>({}, { passedOver: names });
  return (place) => void check(place) as undefined;
};

/** A group of such fields with sub-groups. */
const knownGroup = (groups: Readonly<Record<string, Shape<unknown>>>, ...names: string[]): Shape<never> => {
  const check = record<Record<string, unknown>>(groups as never, { passedOver: names });
  return (place) => void check(place) as undefined;
};

const warmup = record<{ duration: string; minimumPercent?: number; aggression?: number }>(
  { duration, minimumPercent: decimal(0, 100), aggression: decimal(1, Number.MAX_VALUE) },
  { required: ['duration'] },
);

interface LoadBalancer {
  readonly simple?: string;
  readonly warmup?: unknown;
  readonly consistentHash?: never;
  readonly localityLbSetting?: never;
}

const loadBalancerFields = record<LoadBalancer>(
  {
    simple: oneOf('UNSPECIFIED', 'LEAST_CONN', 'RANDOM', 'PASSTHROUGH', 'ROUND_ROBIN', 'LEAST_REQUEST'),
    warmup,
    consistentHash: knownGroup(
      { httpCookie: known('name', 'path', 'ttl', 'attributes'), ringHash: known('minimumRingSize'), maglev: known('tableSize') },
      'httpHeaderName',
      'httpHeaderRegexRewrite',
      'useSourceIp',
      'httpQueryParameterName',
      'minimumRingSize',
    ),
    localityLbSetting: known('distribute', 'failover', 'failoverPriority', 'enabled'),
  },
  { passedOver: ['warmupDurationSecs'] },
);

const loadBalancer: Shape<{ simple?: string }> = (place) => {
  const value = loadBalancerFields(place);
  return value === undefined ? undefined : value.simple === undefined ? {} : { simple: value.simple };
};

const tcpKeepalive = known('probes', 'time', 'interval');
const connectionPool = record<ConnectionPool & { readonly tcp?: never }>({
  tcp: knownGroup({ tcpKeepalive }, 'maxConnections', 'connectTimeout', 'maxConnectionDuration', 'idleTimeout'),
  http: record<NonNullable<ConnectionPool['http']> & { readonly http2KeepAlive?: never }>(
    {
      h2UpgradePolicy: oneOf('DEFAULT', 'DO_NOT_UPGRADE', 'UPGRADE'),
      useClientProtocol: flag,
      http2KeepAlive: known('interval', 'timeout', 'intervalJitter', 'connectionIdleInterval'),
    },
    {
      passedOver: [
        'http1MaxPendingRequests',
        'http2MaxRequests',
        'maxRequestsPerConnection',
        'maxRetries',
        'idleTimeout',
        'maxConcurrentStreams',
      ],
    },
  ),
});
const outlierDetection = known(
  'consecutiveErrors',
  'splitExternalLocalOriginErrors',
  'consecutiveLocalOriginFailures',
  'consecutiveGatewayErrors',
  'consecutive5xxErrors',
  'interval',
  'baseEjectionTime',
  'maxEjectionTime',
  'maxEjectionPercent',
  'minHealthPercent',
);

type PortSettings = NonNullable<TrafficPolicy['portLevelSettings']>[number];

/** A field that a port's settings share with the whole policy and that is passed over. */
interface PassedOver {
  readonly outlierDetection?: never;
}

const shared = { tls, loadBalancer, connectionPool, outlierDetection };

/** Istio takes every number that fits its field; settings of a port that there cannot be are never asked. */
const portNumber = refined(integer(0, 0xffff_ffff), (value, place) => {
  if (value < 1 || value > 65535)
    warnAt(place, 'ENMESH_CONFIG_DOUBTFUL', `no service has a port ${value}, so these settings are never used`, '1 to 65535');
});

const portSettings = record<PortSettings & PassedOver>({
  ...shared,
  port: record<{ number?: number }>({ number: portNumber }),
});

const trafficPolicyFields = record<TrafficPolicy & PassedOver>(
  { ...shared, portLevelSettings: listOf(portSettings, { max: 4096 }) },
  { passedOver: ['tunnel', 'proxyProtocol', 'retryBudget'] },
);

const isEmpty = ({ node }: Place): boolean =>
  (node.kind === 'list' && node.items.length === 0) || (node.kind === 'scalar' && node.value === null);

/** The fields of a map that say something. */
const fieldsOf = (place: Place): readonly string[] =>
  place.node.kind === 'map' ? place.node.entries.map(({ key }) => key).filter((key) => !isEmpty(placeAt(place, key))) : [];

const trafficPolicy: Shape<TrafficPolicy> = refined(trafficPolicyFields, (policy, place) => {
  if (fieldsOf(place).length === 0) invalidAt(place, 'a traffic policy needs a field', 'fill it, or remove it');
  policy.portLevelSettings?.forEach((settings, index) => {
    const at = placeAt(place, 'portLevelSettings', index);
    if (settings.port === undefined) invalidAt(at, 'needs a port with a `number`');
    if (fieldsOf(at).every((field) => field === 'port')) invalidAt(at, 'needs a field beside its port');
  });
});

type Subset = NonNullable<DestinationRuleSpec['subsets']>[number];

const subsetName = refined(filled, (value, place) => {
  if (!isIstioLabel(value)) invalidAt(place, `${quote(value)} is no name of a subset`, 'letters, digits and "-"');
});

const subset = record<Subset>({ name: subsetName, labels: workloadLabels, trafficPolicy }, { required: ['name'] });

const fields = record<DestinationRuleSpec>(
  {
    host: filled,
    trafficPolicy,
    subsets: listOf(subset),
    exportTo,
    workloadSelector: record<{ matchLabels?: Readonly<Record<string, string>> }>({ matchLabels }),
  },
  { required: ['host'] },
);

/** `spec` of DestinationRule. Of a traffic policy `tls`, `loadBalancer.simple` and the choice of HTTP/2 are read; of the rest only the names are checked. */
export const destinationRuleSpec: Shape<DestinationRuleSpec> = refined(fields, (spec, place) => {
  if (!isHostPattern(spec.host)) invalidAt(placeAt(place, 'host'), `${quote(spec.host)} is no host name`);
  const names = new Set<string>();
  spec.subsets?.forEach((one, index) => {
    if (names.has(one.name)) invalidAt(placeAt(place, 'subsets', index, 'name'), 'another subset of this rule has the same name');
    names.add(one.name);
  });
});

const configMap = 'configmap://';

/** A `configmap://` must be one of the rule's own namespace, or a rule could read those of others. */
export function checkConfigMaps(
  { trafficPolicy: policy, subsets = [] }: DestinationRuleSpec,
  namespace: string,
  place: Place,
): void {
  const policies = [policy, ...subsets.map((one) => one.trafficPolicy)];
  for (const level of policies.flatMap((one) => [one, ...(one?.portLevelSettings ?? [])])) {
    const name = level?.tls?.credentialName ?? '';
    if (!name.startsWith(configMap)) continue;
    const [owner, map = ''] = name.slice(configMap.length).split('/');
    if (owner !== namespace || map === '')
      invalidAt(placeAt(place, 'spec'), `a ${configMap} must be of the form ${configMap}${namespace}/<name>`);
  }
}
