/** The path of a target as sent: the query may hold a token, the authority of an absolute form a password. */
export function pathOf(target: string): string {
  return (target.split(/[?#]/, 1)[0] ?? '').replace(/^[^/]*:\/\/[^/]*/, '');
}
