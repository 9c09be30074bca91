/** Where the trust bundle of one foreign trust domain is fetched from (SPIFFE Federation section 5). */
export interface FederatedDomain {
  /** The trust domain that the bundle is of: the bundle itself does not say. */
  readonly trustDomain: string;
  /** `https://...`, without a user. */
  readonly url: string;
  /** How the endpoint's server is known: by a certificate for the URL's host (`https_web`, the default), or by the SPIFFE ID `endpointSpiffeId`. */
  readonly profile?: 'https_web' | 'https_spiffe';
  /** Of the endpoint's server; with `https_spiffe`, where it has to be. */
  readonly endpointSpiffeId?: string;
  /**
   * Path of a file. `https_web`: the authorities of the server's certificate in PEM; default the public ones. `https_spiffe`: the roots of the trust domain of
   * `endpointSpiffeId`, in PEM or as a SPIFFE bundle; default the bundle that this workload holds of that domain. Must be where the endpoint serves the
   * bundle of its own domain: it is then the first bundle, which each one fetched takes the place of.
   */
  readonly roots?: string;
}
