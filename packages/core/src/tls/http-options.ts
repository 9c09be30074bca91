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

/** Node looks every 30 s for requests that take too long, which lets a deadline of a minute last for a minute and a half. */
const checkingMs = 5_000;

/** With the looking in between, the head of a request has come within a minute of its first byte. */
const headersMs = 50_000;

/**
 * The HTTP half of `https.ServerOptions`. Whatever else stands there (certificates, versions, callbacks, leniency of the parser) belongs to the mesh,
 * and an option dropped in silence would be one somebody relies on: it throws `TypeError`. Unless the options say otherwise, the head of a request must
 * have come within 55 s, however slowly its bytes drip.
 */
export function httpOptions(given: ServerOptions = {}): ServerOptions {
  for (const [name, value] of Object.entries(given)) {
    if (value !== undefined && !httpOptionNames.has(name)) {
      throw new TypeError(`\`http.${name}\` belongs to the mesh and cannot be set on its server`);
    }
  }
  const { requestTimeout = 0, headersTimeout, connectionsCheckingInterval = checkingMs } = given;
  // Node refuses a head that may take longer than its request.
  const longest = requestTimeout > 0 ? Math.min(headersMs, requestTimeout) : headersMs;
  return { ...given, connectionsCheckingInterval, headersTimeout: headersTimeout ?? longest };
}
