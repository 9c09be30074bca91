import type { ExtensionProvider } from '../../policy/provider.js';
import type { PathNormalization } from '../../request/normalize.js';
import type { TlsDefaults } from '../../tls/origination.js';
import { defaultMeshSettings, type MeshSettings } from '../mesh-config.js';
import { warnAt, type Place } from '../place.js';
import { quote } from '../problem.js';
import { flag, invalidAt, listOf, oneOf, record, refined, text, type Shape } from '../shape.js';
import { caBundles, caBundleUrls, caCertificate, trustDomainName, type CaCertificate } from './ca-certificates.js';
import { exportTo } from './export-to.js';
import { extensionProviders } from './extension-providers.js';
import { meshMtls, tlsDefaults, type MeshTls } from './tls-config.js';
import { isDnsLabel } from './values.js';

/** The fields of MeshConfig that Istio has and enmesh does not obey: each is passed over with a warning. */
const otherFields = [
  ...[
    'accessLogEncoding',
    'accessLogFile',
    'accessLogFormat',
    'ca',
    'certificates',
    'configSources',
    'connectTimeout',
    'defaultConfig',
  ],
  ...['defaultHttpRetryPolicy', 'defaultProviders', 'defaultTrafficPolicy', 'defaultVirtualServiceExportTo'],
  ...[
    'disableEnvoyListenerLog',
    'discoverySelectors',
    'dnsRefreshRate',
    'enableEnvoyAccessLogService',
    'enablePrometheusMerge',
    'enableTracing',
  ],
  ...['hboneIdleTimeout', 'inboundClusterStatName', 'inboundTrafficPolicy', 'ingressClass'],
  ...[
    'ingressControllerMode',
    'ingressSelector',
    'ingressService',
    'localityLbSetting',
    'outboundClusterStatName',
    'protocolDetectionTimeout',
  ],
  ...[
    'proxyHttpPort',
    'proxyInboundListenPort',
    'proxyListenPort',
    'serviceEntryVisibility',
    'serviceScopeConfigs',
    'serviceSettings',
    'tcpKeepalive',
    'thriftConfig',
  ],
  ...['verifyCertificateAtClient', 'zoneAwareLbSetting'],
];

const namespace = refined(text({ min: 1 }), (value, place) => {
  if (!isDnsLabel(value)) invalidAt(place, `${quote(value)} is no namespace`);
});

/** Istio takes DNS labels only, of the names that SPIFFE allows; it also takes capitals, which SPIFFE does not. */
const meshTrustDomain = refined(trustDomainName, (value, place) => {
  const labels = value.split('.');
  if (labels.length > 1 && labels.at(-1) === '') labels.pop();
  if (!labels.every(isDnsLabel))
    invalidAt(place, `${quote(value)} is no trust domain`, 'labels of letters, digits and "-" between dots');
});

const normalizations: Readonly<Record<string, PathNormalization>> = {
  DEFAULT: 'BASE',
  NONE: 'NONE',
  BASE: 'BASE',
  MERGE_SLASHES: 'MERGE_SLASHES',
  DECODE_AND_MERGE_SLASHES: 'DECODE_AND_MERGE_SLASHES',
};

interface MeshFields {
  readonly trustDomain?: string;
  readonly trustDomainAliases?: readonly string[];
  readonly caCertificates?: readonly CaCertificate[];
  readonly rootNamespace?: string;
  readonly pathNormalization?: { readonly normalization?: string };
  readonly defaultServiceExportTo?: readonly string[];
  readonly defaultDestinationRuleExportTo?: readonly string[];
  readonly outboundTrafficPolicy?: { readonly mode?: 'ALLOW_ANY' | 'REGISTRY_ONLY' };
  readonly meshMTLS?: MeshTls;
  readonly tlsDefaults?: Partial<TlsDefaults>;
  readonly enableAutoMtls?: boolean;
  readonly h2UpgradePolicy?: 'DO_NOT_UPGRADE' | 'UPGRADE';
  readonly extensionProviders?: readonly ExtensionProvider[];
}

const meshFields = record<MeshFields>(
  {
    trustDomain: meshTrustDomain,
    trustDomainAliases: listOf(meshTrustDomain),
    caCertificates: listOf(caCertificate, { max: 100 }),
    rootNamespace: namespace,
    pathNormalization: record<{ normalization?: string }>({
      normalization: oneOf('DEFAULT', 'NONE', 'BASE', 'MERGE_SLASHES', 'DECODE_AND_MERGE_SLASHES'),
    }),
    defaultServiceExportTo: exportTo,
    defaultDestinationRuleExportTo: exportTo,
    outboundTrafficPolicy: record<{ mode?: 'ALLOW_ANY' | 'REGISTRY_ONLY' }>({ mode: oneOf('ALLOW_ANY', 'REGISTRY_ONLY') }),
    meshMTLS: meshMtls,
    tlsDefaults,
    enableAutoMtls: flag,
    h2UpgradePolicy: oneOf('DO_NOT_UPGRADE', 'UPGRADE'),
    extensionProviders,
  },
  { passedOver: otherFields },
);

/** MeshConfig's own fields as settings, Istio's defaults filled in; fields that are real but not obeyed are warned of. */
export const meshConfig: Shape<MeshSettings> = (place) => {
  const fields = meshFields(place);
  if (fields === undefined) return undefined;
  warnOtherFields(place);
  const { meshMTLS } = fields;
  return {
    trustDomain: fields.trustDomain ?? defaultMeshSettings.trustDomain,
    trustDomainAliases: [...new Set(fields.trustDomainAliases)].sort(),
    caBundles: caBundles(fields.caCertificates ?? [], fields.trustDomain ?? defaultMeshSettings.trustDomain),
    caBundleUrls: caBundleUrls(fields.caCertificates ?? [], fields.trustDomain ?? defaultMeshSettings.trustDomain),
    caTrustDomains: (fields.caCertificates ?? []).flatMap((one) => one.trustDomains ?? []),
    rootNamespace: fields.rootNamespace ?? defaultMeshSettings.rootNamespace,
    pathNormalization:
      normalizations[fields.pathNormalization?.normalization ?? 'DEFAULT'] ?? defaultMeshSettings.pathNormalization,
    defaultServiceExportTo: exportedTo(fields.defaultServiceExportTo),
    defaultDestinationRuleExportTo: exportedTo(fields.defaultDestinationRuleExportTo),
    outboundTrafficPolicy: outboundMode(fields.outboundTrafficPolicy),
    minProtocolVersion: meshMTLS?.minProtocolVersion === 'TLSV1_3' ? 'TLSv1.3' : 'TLSv1.2',
    cipherSuites: meshMTLS?.cipherSuites ?? [],
    tlsDefaults: {
      cipherSuites: fields.tlsDefaults?.cipherSuites ?? [],
      ecdhCurves: fields.tlsDefaults?.ecdhCurves ?? [],
    },
    enableAutoMtls: fields.enableAutoMtls ?? defaultMeshSettings.enableAutoMtls,
    h2UpgradePolicy: fields.h2UpgradePolicy ?? defaultMeshSettings.h2UpgradePolicy,
    extensionProviders: fields.extensionProviders ?? [],
  };
};

/** A policy that names no mode has the mode that protobuf counts as zero: not Istio's default. */
function outboundMode(policy: MeshFields['outboundTrafficPolicy']): MeshSettings['outboundTrafficPolicy'] {
  return policy === undefined ? defaultMeshSettings.outboundTrafficPolicy : (policy.mode ?? 'REGISTRY_ONLY');
}

/** An empty list changes nothing of the default. */
function exportedTo(list: readonly string[] | undefined): readonly string[] {
  return list === undefined || list.length === 0 ? ['*'] : list;
}

function warnOtherFields(place: Place): void {
  if (place.node.kind !== 'map') return;
  for (const entry of place.node.entries) {
    if (!otherFields.includes(entry.key)) continue;
    const at = { node: { ...entry.value, offset: entry.keyOffset }, path: entry.key, report: place.report };
    warnAt(at, 'ENMESH_CONFIG_PASSED_OVER', 'this field of MeshConfig is not obeyed by enmesh');
  }
}
