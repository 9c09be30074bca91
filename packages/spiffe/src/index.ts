export { verifyJwtSvid, type JwtBundle, type JwtBundleSet, type JwtSvid } from '@enmesh/core/jwt';
export { createSpiffeIdentity, type SpiffeIdentityOptions } from './identity.js';
export {
  createWorkloadApi,
  type FetchedJwtSvid,
  type Watch,
  type WorkloadApi,
  type WorkloadApiOptions,
  type X509Context,
} from './workload-api.js';
