/** A SPIFFE ID (SPIFFE-ID section 2): its parts and the text they came from. */
export interface SpiffeId {
  readonly uri: string;
  readonly trustDomain: string;
  /** Path with its leading slash; empty for a trust domain's own ID. */
  readonly path: string;
}
