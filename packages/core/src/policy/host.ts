/** The host alone, as applications read it: without userinfo, port and one trailing dot. */
export function bareHost(host: string): string {
  const name = host.slice(host.lastIndexOf('@') + 1).replace(/:\d*$/, '');
  return name.endsWith('.') ? name.slice(0, -1) : name;
}
