/** Where the token of a call comes from: `minted` or `reused` for HOP, `fetched` or `cached` for EXCHANGE, `forwarded` for FORWARD. */
export type CarriedTokenSource = 'minted' | 'reused' | 'fetched' | 'cached' | 'forwarded';

/** Gets where the token of one call came from, for whoever tells of the call. */
export interface TokenNote {
  token: CarriedTokenSource | undefined;
}
