import type { ErrorCode } from '../errors.js';
import type { Destination } from './destination.js';
import type { MergedRule } from './destination-rule.js';
import type { EffectivePolicy } from './traffic-policy.js';
import { isCredentialDropped, lacksCertificate } from './upstream-tls.js';

/** Why enmesh sends nothing where Istio would. */
export interface Refusal {
  readonly code: ErrorCode;
  readonly reason: string;
}

/** The refusal of a host name that is not one (security.md T18). The name itself is not repeated. */
export function invalidHost(host: string): Refusal {
  return {
    code: 'ENMESH_OUTBOUND_HOST_INVALID',
    reason: `a host name of ${host.length} characters is not an ASCII DNS name or address`,
  };
}

/**
 * The three places where Istio fails open and enmesh does not: mutual TLS with nobody expected, TLS settings hidden by a silent
 * `portLevelSettings` entry that end in plaintext, and a `credentialName` that a rule without workloadSelector loses.
 */
export function findRefusal(
  destination: Destination,
  rule: MergedRule | undefined,
  policy: EffectivePolicy,
): Refusal | undefined {
  const { tls } = policy;
  if (tls !== undefined && (tls.mode === 'SIMPLE' || tls.mode === 'MUTUAL')) {
    if (isCredentialDropped(tls, rule?.selector !== undefined))
      return {
        code: 'ENMESH_OUTBOUND_CREDENTIAL',
        reason: `DestinationRule ${rule?.name ?? ''} names a credentialName without a workloadSelector: Istio would ignore its tls and send plaintext`,
      };
    if (tls.mode === 'MUTUAL' && lacksCertificate(tls))
      return {
        code: 'ENMESH_OUTBOUND_CREDENTIAL',
        reason: `DestinationRule ${rule?.name ?? ''} asks for MUTUAL without clientCertificate and privateKey`,
      };
  }
  if (endsInHiddenPlaintext(destination, policy))
    return {
      code: 'ENMESH_OUTBOUND_SILENT_PORT',
      reason: `a portLevelSettings entry without tls in DestinationRule ${rule?.name ?? ''} hides tls mode ${policy.hiddenMode ?? ''} and the call would be plaintext`,
    };
  if (speaksMutualTls(destination) && destination.subjectAltNames?.length === 0)
    return {
      code: 'ENMESH_OUTBOUND_NOBODY_EXPECTED',
      reason: `no identity is known that ${destination.host ?? 'the service'} may have, so mutual TLS would accept every certificate of the mesh`,
    };
  return undefined;
}

function speaksMutualTls({ tls, auto, endpoints }: Destination): boolean {
  if (tls !== 'ISTIO_MUTUAL') return false;
  return auto !== true || (endpoints ?? []).some((endpoint) => endpoint.tls === 'ISTIO_MUTUAL');
}

function endsInHiddenPlaintext({ tls, endpoints }: Destination, { hiddenMode }: EffectivePolicy): boolean {
  if (hiddenMode === undefined || hiddenMode === 'DISABLE') return false;
  return tls === 'DISABLE' || (endpoints ?? []).some((endpoint) => endpoint.tls === 'DISABLE');
}
