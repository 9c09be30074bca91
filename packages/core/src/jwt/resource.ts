import type { Resource, WorkloadSelector } from '../identity/workload.js';

/** `spec.jwtRules[]` of RequestAuthentication (security.istio.io/v1). `timeout` is a Go duration such as `5s`. */
export interface JwtRuleSpec {
  readonly issuer?: string;
  readonly audiences?: readonly string[];
  readonly jwksUri?: string;
  readonly jwks?: string;
  readonly fromHeaders?: readonly { readonly name: string; readonly prefix?: string }[];
  readonly fromParams?: readonly string[];
  readonly fromCookies?: readonly string[];
  readonly outputPayloadToHeader?: string;
  readonly outputClaimToHeaders?: readonly { readonly header: string; readonly claim: string }[];
  readonly forwardOriginalToken?: boolean;
  readonly timeout?: string;
  readonly spaceDelimitedClaims?: readonly string[];
}

/** `spec` of RequestAuthentication. A policy with a targetRef never applies off gateways. */
export interface RequestAuthenticationSpec {
  readonly selector?: WorkloadSelector;
  readonly targetRef?: unknown;
  readonly targetRefs?: readonly unknown[];
  readonly jwtRules?: readonly JwtRuleSpec[];
}

export type RequestAuthentication = Resource<RequestAuthenticationSpec>;
