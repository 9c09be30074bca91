/**
 * Whether a request is a CORS preflight, which the token step lets pass unread (istio-semantics 2.9): method OPTIONS with a non-empty Origin and
 * Access-Control-Request-Method. Policies still judge it, without a user, and output headers are still removed.
 */
export function isCorsPreflight(method: string, header: (name: string) => readonly string[] | undefined): boolean {
  if (method !== 'OPTIONS') return false;
  return Boolean(header('origin')?.[0]) && Boolean(header('access-control-request-method')?.[0]);
}
