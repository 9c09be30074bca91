import type { KubernetesPort, KubernetesServiceSpec } from '../registry.js';
import { describeNode } from '../node.js';
import { integer, invalidAt, listOf, mapOf, record, text, type Shape } from '../shape.js';

/** A port's number, or the name of a container's port. */
const targetPort: Shape<number | string> = (place) => {
  const { node } = place;
  if (node.kind !== 'scalar') return invalidAt(place, `must be a port's number or name, not ${describeNode(node)}`);
  return typeof node.value === 'number' ? integer(0, 65535)(place) : text({ min: 1 })(place);
};

interface PortFields {
  readonly port: number;
  readonly name?: string;
  readonly protocol?: string;
  readonly appProtocol?: string;
  readonly targetPort?: number | string;
}

const portFields = record<PortFields>(
  { port: integer(1, 65535), name: text(), protocol: text(), appProtocol: text(), targetPort },
  { required: ['port'], open: true },
);

/** Kubernetes calls `port` what Istio calls `number`. */
const port: Shape<KubernetesPort> = (place) => {
  const decoded = portFields(place);
  if (decoded === undefined) return undefined;
  const { port: number, ...rest } = decoded;
  return { number, ...rest };
};

/** What enmesh reads of `spec` of a Service (v1); the rest of a core object is passed over, and null counts as absent. */
export const kubernetesServiceSpec: Shape<KubernetesServiceSpec> = record<KubernetesServiceSpec>(
  {
    ports: listOf(port),
    selector: mapOf(text()),
    clusterIP: text(),
    clusterIPs: listOf(text()),
    type: text(),
    externalName: text(),
  },
  { open: true },
);
