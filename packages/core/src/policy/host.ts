/** The host alone, as applications read it: without userinfo, port and one trailing dot. */
export function bareHost(host: string): string {
  // Most hosts are bare.
  if (!host.includes(':') && !host.includes('@') && !host.endsWith('.')) return host;
  const name = host.slice(host.lastIndexOf('@') + 1).replace(/:\d*$/, '');
  return name.endsWith('.') ? name.slice(0, -1) : name;
}
