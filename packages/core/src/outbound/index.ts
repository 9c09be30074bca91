/** `@enmesh/core/outbound`: where calls go and how they are encrypted, answered from a snapshot without calling anybody; for tools. */
export {
  resolveDestination,
  type ClientTlsMode,
  type Destination,
  type DestinationEndpoint,
  type DestinationQuery,
  type DestinationSources,
} from './destination.js';
export { compilePort, type CompiledPort } from './port.js';
