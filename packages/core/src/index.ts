/** `@enmesh/core`: all a service needs, both directions, no framework. */
export { createMesh } from './mesh.js';
export type { Mesh, MeshListener, MeshRequest, MeshServer, MeshWorkload, ServerOptions } from './mesh/mesh-type.js';
export type { IdentityOption, MeshOptions } from './config/settings.js';
export type { AccessLogFields, AccessLogSettings } from './config/access-log-shape.js';
export type { IdentitySettings } from './config/identity-settings.js';
export type { FederatedDomain } from './identity/federation.js';
export type { ConfigFile } from './config/validate.js';
export type { ConfigSource } from './config/directory.js';
export { EnmeshError, errorTable, isEnmeshError, type ErrorCode, type ErrorEntry } from './errors.js';
export type { PeerIdentity, RequestIdentity } from './identity/caller.js';
export { fixedSvidSource, type X509Svid } from './identity/svid.js';
export { fixedTrustBundleSource, type TrustBundle, type TrustBundleSet } from './identity/trust-bundle.js';
export type { MeshIdentity, Stop, SvidSource, TrustBundleSource } from './identity/source.js';
export { parseSpiffeId, type SpiffeId } from './identity/spiffe-id.js';
export type { Workload } from './identity/workload.js';
export type { RequestEnmesh } from './inbound/inbound.js';
export type { Decision } from './policy/evaluate.js';
export type { RequestContext } from './propagation/context.js';
export type { RequestAttributes } from './request/attributes.js';
export {
  auditEvents,
  type AuditAddress,
  type AuditClaim,
  type AuditEvent,
  type AuditTrace,
  type AuditUser,
  type AuditWorkload,
  type CallAudit,
  type ConnectionAudit,
  type RequestAudit,
} from './telemetry/audit.js';
export {
  deniedEvents,
  noticeEvents,
  stepEvents,
  steps,
  type DeniedEvent,
  type EventChannel,
  type NoticeEvent,
  type Step,
  type StepEvent,
} from './telemetry/events.js';
