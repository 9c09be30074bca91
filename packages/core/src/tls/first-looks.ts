/** So many connections in a row must be taken before the next is no longer looked at. */
const looksAfterRefusal = 16;

/**
 * Whether the first bytes of connections are read before TLS begins on a port that takes nothing else. It takes reading them to tell a PROXY line and
 * HTTP/2 from HTTP, and to refuse what is not TLS by its first byte; where one handshake after the other is good there is nothing to tell, and reading
 * them would cost a fiftieth of each. After any refusal the next connections are looked at again, so that a misplaced proxy is called by its name.
 */
export interface FirstLooks {
  isNextLookedAt(): boolean;
  /** Notes a connection that a STRICT port has taken. */
  noteTaken(): void;
  noteRefused(): void;
}

/** Creates what counts the connections of one server that are still looked at. */
export function createFirstLooks(): FirstLooks {
  let left = looksAfterRefusal;
  return {
    isNextLookedAt: () => left > 0,
    noteTaken: () => void (left -= left > 0 ? 1 : 0),
    noteRefused: () => void (left = looksAfterRefusal),
  };
}

/** What OpenSSL says of first bytes that are no record of TLS, to which it answers without an alert. */
const plaintextCodes: ReadonlySet<string> = new Set([
  'ERR_SSL_HTTP_REQUEST',
  'ERR_SSL_HTTPS_PROXY_REQUEST',
  'ERR_SSL_WRONG_VERSION_NUMBER',
]);

/** Whether a handshake failed, by the code of its error, because the client's first bytes are plaintext. */
export function isPlaintextToOpenssl(code: string): boolean {
  return plaintextCodes.has(code);
}
