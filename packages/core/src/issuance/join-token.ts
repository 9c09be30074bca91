/** What every join token of `@enmesh/ca` begins with, so that it is taken for nothing else and found by scanners for secrets. */
export const joinTokenPrefix = 'enmesh-join.';

/** Whether a token is good for one certificate only, and of no use once it has brought one. */
export function isJoinToken(token: string): boolean {
  return token.startsWith(joinTokenPrefix);
}
