import type { Labels } from './services.js';

/** A document of today's kinds that a conversion wants to write. `notes` say, a sentence each, what differs from the legacy meaning. */
export interface Draft {
  readonly kind: 'PeerAuthentication' | 'RequestAuthentication' | 'AuthorizationPolicy';
  readonly namespace: string;
  readonly name: string;
  /** Evaluated and recorded, never enforced (annotation `istio.io/dry-run`). */
  readonly dryRun?: boolean;
  readonly spec: Readonly<Record<string, unknown>>;
  readonly notes: readonly string[];
}

/** `selector` of a spec; none for a whole namespace or mesh. */
export function selectorOf(labels: Labels | undefined): Record<string, unknown> {
  return labels === undefined ? {} : { selector: { matchLabels: labels } };
}

/** `value` under `name`, unless there is none. */
export function optional<T>(name: string, value: T | undefined): Record<string, T> {
  return value === undefined ? {} : { [name]: value };
}
