import { isForbiddenAddress } from './addresses.js';

/**
 * What keeps a text from being a URL that key material may be fetched from, as the end of a sentence; undefined when nothing does. `base` is what a relative
 * one, such as of a redirect, is relative to. Names that lead to forbidden addresses are refused later, when they are resolved.
 */
export function httpsUrlFault(text: string, base?: URL): string | undefined {
  if (!URL.canParse(text, base?.href)) return 'is no URL';
  const { protocol, username, password, hostname } = new URL(text, base);
  if (protocol !== 'https:') return 'is not https';
  if (username !== '' || password !== '') return 'has a user';
  return isForbiddenAddress(hostname) ? 'is a link-local or metadata address' : undefined;
}
