import type { Server } from 'node:https';
import type { AcceptSettings } from './accept-settings.js';
import { contextOptions, currentEpoch, withUsableIdentity, type IdentityEpoch } from './secure-context.js';
import type { Era } from './standing.js';

/**
 * Creates the function that brings a server's secure context up to date before a handshake: a new context whenever the SVID, the bundles,
 * the least version or the ciphers are others than at the last one. Asking the sources each time, rather than being told, leaves no moment
 * in which a handshake could use what has been replaced. The function returns what the next handshake uses, and throws `ENMESH_IDENTITY_NONE` or `ENMESH_TLS_IDENTITY_UNUSABLE`.
 */
export function createContextKeeper(
  server: Server,
  { identity, clock }: Pick<Era, 'identity' | 'clock'>,
): (settings: AcceptSettings) => IdentityEpoch {
  let last: { readonly epoch: IdentityEpoch; settings: AcceptSettings } | undefined;
  return (settings) => {
    const epoch = currentEpoch(identity, clock());
    if (last !== undefined && epoch.svid === last.epoch.svid && epoch.bundles === last.epoch.bundles) {
      if (settings === last.settings) return last.epoch;
      if (asksTheSame(settings, last.settings)) {
        last.settings = settings;
        return last.epoch;
      }
    }
    withUsableIdentity(() => server.setSecureContext(contextOptions(epoch, settings)));
    // Node keeps the private key's PEM as a plain property, where any dump of the server object would print it.
    (server as Server & { key?: unknown }).key = undefined;
    last = { epoch, settings };
    return epoch;
  };
}

/** Whether two settings make the same context. */
function asksTheSame(a: AcceptSettings, b: AcceptSettings): boolean {
  return a.minVersion === b.minVersion && a.ciphers.join(':') === b.ciphers.join(':');
}
