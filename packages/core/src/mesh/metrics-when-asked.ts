import { EnmeshError } from '../errors.js';
import { createMetrics, type Metrics, type MetricsOptions } from '../telemetry/metrics.js';

/** The metrics of a mesh, counted from the first time that somebody asks. */
export interface MetricsWhenAsked {
  /** Throws `ENMESH_MESH_CLOSED` after the end when nobody asked before. */
  metrics(): string;
  close(): void;
}

/** Creates metrics that listen to nothing until they are asked for: a service without a scraper pays nothing. */
export function metricsWhenAsked(options: MetricsOptions): MetricsWhenAsked {
  let metrics: Metrics | undefined;
  let isClosed = false;
  return {
    metrics() {
      if (isClosed && metrics === undefined)
        throw new EnmeshError('ENMESH_MESH_CLOSED', 'metrics were asked for after mesh.close()');
      return (metrics ??= createMetrics(options)).text();
    },
    close() {
      isClosed = true;
      metrics?.close();
    },
  };
}
