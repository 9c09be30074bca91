/** `@enmesh/core/custom`: the contract of external authorizers, for the package that asks them over gRPC. */
export {
  isOfTheHop,
  noChanges,
  type CheckOutcome,
  type CheckRequest,
  type CustomAuthorizer,
  type HeaderAction,
  type HeaderChange,
  type HeaderLine,
  type RequestChanges,
} from './contract.js';
export type { ExtAuthzModule, GrpcAuthorizerOptions, GrpcRoute } from './grpc-package.js';
