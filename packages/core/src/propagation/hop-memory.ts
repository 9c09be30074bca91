import type { PeerIdentity } from '../identity/caller.js';
import type { SignedToken } from './hop-verify.js';

/** So many tokens, and characters of them, are remembered by one process, whoever sent them. */
const mostTokens = 8192;
const mostCharacters = 8 * 1024 * 1024;

interface Kept {
  readonly token: SignedToken;
  /** SHA-256 of the certificate that signed it: several connections show the same one. */
  readonly certificate: string;
}

const kept = new Map<string, Kept>();
let characters = 0;

/** What a token says that the certificate of this very peer signed, where it was read before. */
export function findSigned(text: string, peer: PeerIdentity): SignedToken | undefined {
  const known = kept.get(text);
  return known?.certificate === peer.certificateSha256 ? known.token : undefined;
}

/** Remembers a token whose signature was found to be its peer's; those that have ended, and beyond the bounds the oldest, are forgotten. */
export function keepSigned(text: string, token: SignedToken, peer: PeerIdentity, now: number): void {
  forget(text);
  kept.set(text, { token, certificate: peer.certificateSha256 });
  characters += text.length;
  for (const [oldest, { token: its }] of kept) {
    // In the order in which they came, which is nearly that in which they end.
    if (its.expiresAt > now && kept.size <= mostTokens && characters <= mostCharacters) break;
    forget(oldest);
  }
}

function forget(text: string): void {
  if (kept.delete(text)) characters -= text.length;
}

/** How much is remembered, for tests that nothing stays behind. */
export function rememberedTokens(): { readonly tokens: number; readonly characters: number } {
  return { tokens: kept.size, characters };
}
