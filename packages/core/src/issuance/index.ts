// The entry `@enmesh/core/issuance`: what packages need that get an identity from somewhere, or give one.
export type { FilesIdentitySettings, IstioIdentitySettings, SpiffeIdentitySettings } from '../identity/choice.js';
export { EnmeshError, isEnmeshError, type ErrorCode } from '../errors.js';
export type { MeshIdentity, Stop, SvidSource, TrustBundleSource } from '../identity/source.js';
export { formatIstioId, istioParts, parseSpiffeId, type SpiffeId } from '../identity/spiffe-id.js';
export type { X509Svid } from '../identity/svid.js';
export type { TrustBundle, TrustBundleSet } from '../identity/trust-bundle.js';
export { parseTrustDomain } from '../identity/trust-domain.js';
export type { Workload } from '../identity/workload.js';
export { joinBundles } from '../identity/join-bundles.js';
export { noticeEvents, type NoticeEvent } from '../telemetry/events.js';
export {
  createBundleEndpoint,
  type BundleEndpoint,
  type BundleEndpointOptions,
  type BundleEndpointStatus,
} from './bundle-endpoint.js';
export { createFilesIdentity, type FilesIdentityOptions } from './files.js';
export { createHeldIdentity, type HeldIdentity } from './held-identity.js';
export { addWatcher, tellRenewalFailed } from './held-svid.js';
export type { IdentityRequest, PlatformIdentity } from './provider.js';
export { isJoinToken, joinTokenPrefix } from './join-token.js';
export { createRotation, type Rotation, type RotationOptions } from './rotation.js';
export { createSeldom } from './seldom.js';
export { fileProblem, markOfStats, readSmallFile, readSmallFileIfThere, type SmallFile } from '../x509/small-file.js';
export { parseSpiffeBundle, type SpiffeBundle } from './spiffe-bundle.js';
export { unrefTimer, withDeadline, type Timer } from './timer.js';
