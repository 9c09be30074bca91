/** `@enmesh/core/inbound`: what a framework adapter needs, and nothing a service does. */
export { decisionOf } from './decided.js';
export type { DoorOptions } from './door.js';
export { installDoorAccessors } from './door-request.js';
export { enforce } from './enforce.js';
export {
  createEvaluator,
  type Evaluation,
  type Evaluator,
  type EvaluatorOptions,
  type GivenConnection,
  type GivenRequest,
  type RequestVerdict,
  type UpstreamRequest,
} from './evaluate.js';
export { explainRefusal } from './explain.js';
export { openServer, requireMesh } from './listen.js';
export type { Entrance, RequestEnmesh } from './inbound.js';
export {
  explainPolicies,
  type ExplainedRule,
  type ExplainOptions,
  type Explanation,
  type FailedField,
  type NearMiss,
} from '../policy/explain.js';
export { formatNearMiss } from '../policy/explain-sentence.js';
export { bareRouter, expressRouter, fastifyRouter, type RouterSettings } from '../request/router.js';
