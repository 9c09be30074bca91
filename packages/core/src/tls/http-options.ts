import type { ServerOptions } from 'node:https';

const httpOptionNames: ReadonlySet<string> = new Set([
  'IncomingMessage',
  'ServerResponse',
  'requestTimeout',
  'headersTimeout',
  'keepAliveTimeout',
  'keepAliveTimeoutBuffer',
  'connectionsCheckingInterval',
  'maxHeaderSize',
  'highWaterMark',
  'joinDuplicateHeaders',
  'requireHostHeader',
  'rejectNonStandardBodyWrites',
  'uniqueHeaders',
  'shouldUpgradeCallback',
  'optimizeEmptyRequests',
  'noDelay',
  'keepAlive',
  'keepAliveInitialDelay',
  'blockList',
]);

/**
 * The HTTP half of `https.ServerOptions`. Whatever else stands there (certificates, versions, callbacks, leniency of the parser) belongs to the mesh,
 * and an option dropped in silence would be one somebody relies on: it throws `TypeError`.
 */
export function httpOptions(given: ServerOptions = {}): ServerOptions {
  for (const [name, value] of Object.entries(given)) {
    if (value !== undefined && !httpOptionNames.has(name)) {
      throw new TypeError(`\`http.${name}\` belongs to the mesh and cannot be set on its server`);
    }
  }
  return given;
}
