/** `@enmesh/core/describe`: what a configuration means for its workload; for tools and for the admin listener. */
export {
  describeMesh,
  type DescribedDestination,
  type DescribedPolicy,
  type DescribedPort,
  type DescribedRule,
  type MeshDescription,
} from './describe.js';
export type { KeptDecision } from './decisions.js';
