import type { MtlsModeSpec, PeerAuthenticationSpec } from '../../tls/resource.js';
import { placeAt, warnAt, type Place } from '../place.js';
import { quote } from '../problem.js';
import { invalidAt, mapOf, oneOf, record, refined, type Shape } from '../shape.js';
import { workloadSelector } from './selector.js';

const mtls = record<{ mode?: MtlsModeSpec }>({ mode: oneOf('UNSET', 'DISABLE', 'PERMISSIVE', 'STRICT') });

function checkPort(key: string, place: Place): void {
  if (!/^[0-9]{1,5}$/.test(key) || Number(key) < 1 || Number(key) > 65535) {
    invalidAt(place, `${quote(key)} is no port (1 to 65535)`);
  } else if (key.startsWith('0')) {
    invalidAt(place, 'a port is written without leading zeros');
  }
}

const specFields = record<PeerAuthenticationSpec>({
  selector: workloadSelector,
  mtls,
  portLevelMtls: mapOf(mtls, { min: 1 }, checkPort),
});

/** `spec` of PeerAuthentication with Istio's validation (istio-semantics 1.7): port levels need a selector with labels. */
export const peerAuthenticationSpec: Shape<PeerAuthenticationSpec> = refined(specFields, (spec, place) => {
  const hasLabels = Object.keys(spec.selector?.matchLabels ?? {}).length > 0;
  if (spec.portLevelMtls !== undefined && !hasLabels) {
    invalidAt(placeAt(place, 'portLevelMtls'), 'portLevelMtls requires a selector with labels');
  } else if (spec.selector !== undefined && !hasLabels) {
    warnAt(
      placeAt(place, 'selector'),
      'ENMESH_CONFIG_DOUBTFUL',
      'a selector without labels selects every workload, as if it were absent',
    );
  }
});
