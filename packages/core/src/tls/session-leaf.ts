/** Where OpenSSL writes the peer's certificate in a session: `[3] EXPLICIT`, the one element of this tag in the outer SEQUENCE. */
const peerTag = 0xa3;
const sequenceTag = 0x30;

/**
 * The DER of the peer's certificate in a TLS session as OpenSSL writes it (`getSession`): a view into `session`, not a copy; undefined where there is
 * none or the bytes are arranged otherwise. It saves what Node's own readers cost, which decode the certificate and its key once more; being no documented
 * format it only serves to recognize a certificate that was read by them before.
 */
export function leafInSession(session: Buffer): Buffer | undefined {
  const outer = contentAt(session, 0, sequenceTag);
  for (let at = outer?.start ?? session.length; at < session.length;) {
    const peer = contentAt(session, at, peerTag);
    if (peer !== undefined) return session.subarray(peer.start, peer.end);
    const other = contentAt(session, at, session[at]);
    if (other === undefined) return undefined;
    at = other.end;
  }
  return undefined;
}

/** Where the content of the element at `at` begins and ends, if it has this tag and a length within the bytes. */
function contentAt(bytes: Buffer, at: number, tag: number | undefined): { start: number; end: number } | undefined {
  const first = bytes[at + 1];
  if (bytes[at] !== tag || first === undefined || first === 0x80) return undefined;
  const size = first < 0x80 ? 0 : first & 0x7f;
  if (size > 3 || at + 2 + size > bytes.length) return undefined;
  const start = at + 2 + size;
  const end = start + (size === 0 ? first : bytes.readUIntBE(at + 2, size));
  return end > bytes.length ? undefined : { start, end };
}
