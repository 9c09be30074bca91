export { createJoinToken, type JoinToken, type JoinTokenOptions } from './join-tokens.js';
export { parseDuration } from './fields.js';
export { initAuthority, type InitOptions } from './make-files.js';
export {
  readRotation,
  rotateRoot,
  rotationSteps,
  type RotationOptions,
  type RotationStatus,
  type RotationStep,
} from './rotate-root.js';
export { createCaServer, type CaServer } from './server.js';
export {
  defaultNames,
  parseCaSettings,
  parseListen,
  type CaSettings,
  type IssuerSettings,
  type LimitSettings,
  type TokenReviewSettings,
} from './settings.js';
