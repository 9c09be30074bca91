/**
 * Which request headers are forged by definition: names that carry an identity inside the mesh and that only this hop may write.
 * A name is compared in every spelling: without case, and `_` for `-`, because frameworks and gateways fold one into the other.
 */
export interface StripTable {
  /** Canonical names (lower case, `-`) that are removed from every request before anything reads it. */
  readonly names: ReadonlySet<string>;
}

/** Removed on every route, whatever the configuration says: enmesh's own headers and the name its examples use for the payload. */
const alwaysStripped = ['sec-istio-auth-userinfo', 'enmesh-hop-token'];

/** Every header that begins so is enmesh's own. */
const ownPrefix = 'x-enmesh-';

/** Compiles the strip table of a snapshot from the output headers of all its RequestAuthentication rules. */
export function compileStrip(outputHeaders: readonly string[]): StripTable {
  return { names: new Set([...alwaysStripped, ...outputHeaders].map(canonicalName)) };
}

/** The spelling under which protected names are compared. */
export function canonicalName(name: string): string {
  return name.toLowerCase().replaceAll('_', '-');
}

/** Whether a header line of this canonical name is a forgery by definition. */
export function isForged(table: StripTable, canonical: string): boolean {
  return table.names.has(canonical) || canonical.startsWith(ownPrefix);
}
