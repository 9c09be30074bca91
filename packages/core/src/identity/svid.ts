import type { KeyObject } from 'node:crypto';
import type { SvidSource } from './source.js';
import type { SpiffeId } from './spiffe-id.js';

/**
 * An X.509-SVID with its private key (SPIFFE X509-SVID section 2).
 * `chain` is PEM, leaf first, then intermediates; times are milliseconds since the epoch.
 */
export interface X509Svid {
  readonly id: SpiffeId;
  readonly chain: string;
  readonly privateKey: KeyObject;
  readonly notBefore: number;
  readonly notAfter: number;
  /** The serial number of the leaf in lower-case hexadecimal: what events name instead of the certificate. */
  readonly serial: string;
}

/** A source that holds one SVID forever, for values that do not rotate (tests, files read once). */
export function fixedSvidSource(svid: X509Svid): SvidSource {
  return { current: () => svid, watch: () => () => {} };
}
