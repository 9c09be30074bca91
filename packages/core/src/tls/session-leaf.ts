/** Where OpenSSL writes the peer's certificate in a session: `[3] EXPLICIT`, the one element of this tag in the outer SEQUENCE. */
const peerTag = 0xa3;
const sequenceTag = 0x30;

/**
 * The DER of the peer's certificate in a TLS session as OpenSSL writes it (`getSession`): a view into `session`, not a copy; undefined where there is
 * none or the bytes are arranged otherwise. It saves what Node's own readers cost, which decode the certificate and its key once more; being no documented
 * format it only serves to recognize a certificate that was read by them before.
 */
export function leafInSession(session: Buffer): Buffer | undefined {
  const { length } = session;
  let at = 0;
  while (at < length) {
    const tag = session[at];
    const first = session[at + 1];
    if (first === undefined || first === 0x80) return undefined;
    let start = at + 2;
    let size = first;
    if (first > 0x80) {
      const lengthBytes = first & 0x7f;
      if (lengthBytes > 3) return undefined;
      size = 0;
      for (const end = start + lengthBytes; start < end; start++) size = (size << 8) | (session[start] ?? length);
    }
    const end = start + size;
    if (end > length) return undefined;
    if (at > 0 && tag === peerTag) return session.subarray(start, end);
    if (at === 0 && tag !== sequenceTag) return undefined;
    // Into the outer element, over all others.
    at = at === 0 ? start : end;
  }
  return undefined;
}
