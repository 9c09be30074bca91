/** Where the fields stand that people indent wrongly most often, in the words of a hint. */
const homes: Readonly<Record<string, readonly string[]>> = {
  '`metadata`': ['name', 'namespace', 'labels', 'annotations'],
  '`spec`': ['selector', 'action', 'rules', 'provider', 'mtls', 'portLevelMtls', 'jwtRules', 'targetRefs'],
  '`selector.matchLabels`': ['app', 'version', 'istio', 'app.kubernetes.io/name'],
  'a rule, an entry of `rules`, beside one another': ['from', 'to', 'when'],
  'a `source`, an entry of `from`': [
    ...['principals', 'requestPrincipals', 'namespaces', 'serviceAccounts', 'ipBlocks', 'remoteIpBlocks', 'trustDomains'],
    ...['notPrincipals', 'notRequestPrincipals', 'notNamespaces', 'notServiceAccounts', 'notIpBlocks', 'notRemoteIpBlocks'],
  ],
  'an `operation`, an entry of `to`': ['hosts', 'ports', 'methods', 'paths', 'notHosts', 'notPorts', 'notMethods', 'notPaths'],
  'an entry of `when`': ['key', 'values', 'notValues'],
  'an entry of `jwtRules`': ['issuer', 'audiences', 'jwksUri', 'jwks', 'fromHeaders', 'fromParams', 'forwardOriginalToken'],
  '`mtls`, or the number of a port in `portLevelMtls`': ['mode'],
};

const homeOf = new Map(Object.entries(homes).flatMap(([home, fields]) => fields.map((field) => [field, home] as const)));

/** Where a field that is unknown at its place would be known, `it belongs to ...`; undefined for one that is not known anywhere. */
export function homeHint(field: string): string | undefined {
  const home = homeOf.get(field);
  return home === undefined ? undefined : `it belongs to ${home}`;
}
