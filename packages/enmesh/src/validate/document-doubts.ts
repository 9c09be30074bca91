import type { AuthorizationPolicy, ConfigProblem, MeshResources, PolicyRule } from '@enmesh/core/config';
import { compilePort, resolveDestination } from '@enmesh/core/outbound';

/**
 * What in valid documents is doubtful whoever reads them: key sets that no service fetches, authorizers that no document declares, and DENY rules that a
 * sidecar widens at ports without HTTP. `allowsHttp`: issuers whose keys a service file lets be fetched in the clear.
 */
export function documentDoubts(
  resources: MeshResources,
  allowsHttp: (issuer: string) => boolean = () => false,
): readonly ConfigProblem[] {
  return [...keySetDoubts(resources, allowsHttp), ...providerDoubts(resources), ...tcpDoubts(resources)];
}

function doubt(
  source: ConfigProblem | AuthorizationPolicy['meta']['source'],
  path: string,
  message: string,
  hint: string,
): ConfigProblem {
  const { file, line, column } = source;
  return { level: 'warning', code: 'ENMESH_CONFIG_DOUBTFUL', file, line, column, path, message, hint };
}

/** A key set over http is fetched only where mutual TLS of the mesh carries it, or where a service file says so. */
function keySetDoubts(resources: MeshResources, allowsHttp: (issuer: string) => boolean): readonly ConfigProblem[] {
  return resources.requestAuthentications.flatMap(({ meta, spec }) =>
    (spec.jwtRules ?? []).flatMap(({ issuer = '', jwksUri = '' }, index): ConfigProblem[] => {
      if (!/^http:/i.test(jwksUri) || allowsHttp(issuer)) return [];
      const { hostname, port } = new URL(jwksUri);
      if (destinationOf(resources, meta.namespace, hostname, Number(port) || 80).tls === 'ISTIO_MUTUAL') return [];
      const line = `jwks: {${JSON.stringify(issuer)}: {insecureHttp: true}}`;
      const message = 'keys are not fetched over plain http, so no token of this issuer is accepted';
      return [doubt(meta.source, `spec.jwtRules[${index}].jwksUri`, message, `use https, or allow it in enmesh.yaml: ${line}`)];
    }),
  );
}

function providerDoubts(resources: MeshResources): readonly ConfigProblem[] {
  return resources.authorizationPolicies.flatMap(({ meta, spec }): ConfigProblem[] => {
    const provider = resources.mesh.extensionProviders.find(({ name }) => name === spec.provider?.name);
    if (spec.action !== 'CUSTOM' || provider === undefined) return [];
    const host = provider.service.slice(provider.service.indexOf('/') + 1);
    if (destinationOf(resources, meta.namespace, host, provider.port).known) return [];
    const message = `no Service or ServiceEntry declares ${host}:${provider.port}, where provider "${provider.name}" is: Istio would deny every request that this policy is for`;
    const hint = 'declare it, or it is asked in plaintext as any host of the network';
    return [doubt(meta.source, 'spec.provider.name', message, hint)];
  });
}

function destinationOf(
  { registry, mesh }: MeshResources,
  namespace: string,
  host: string,
  port: number,
): ReturnType<typeof resolveDestination> {
  return resolveDestination({ registry, mesh }, { client: { namespace, serviceAccount: 'default', labels: {} }, host, port });
}

interface TcpPort {
  readonly namespace: string;
  readonly selector: Readonly<Record<string, string>>;
  /** The workload's own port, as policies name it; undefined for one known by name only. */
  readonly port: number | undefined;
  readonly label: string;
}

/** A sidecar drops the HTTP fields of a DENY rule at a port without HTTP, and what is left of a rule with nothing else denies everything there. */
function tcpDoubts({ registry, mesh, authorizationPolicies }: MeshResources): readonly ConfigProblem[] {
  const ports = registry.services.flatMap(({ meta, spec }) =>
    (spec.ports ?? [])
      .map((port) => compilePort(port, 'kubernetes'))
      .filter(({ http, udp }) => !http && !udp)
      .map(({ number, targetPort }): TcpPort => ({
        namespace: meta.namespace,
        selector: spec.selector ?? {},
        port: typeof targetPort === 'string' ? undefined : (targetPort ?? number),
        label: `port ${number} of Service ${meta.namespace}/${meta.name}`,
      })),
  );
  if (ports.length === 0) return [];
  return authorizationPolicies.flatMap(({ meta, spec }) => {
    if (spec.action !== 'DENY') return [];
    const near = ports.filter(
      ({ namespace, selector }) =>
        (namespace === meta.namespace || meta.namespace === mesh.rootNamespace) &&
        mayBeOne(spec.selector?.matchLabels ?? {}, selector),
    );
    return (spec.rules ?? []).flatMap((rule, index): ConfigProblem[] => {
      const hit = near.find(({ port }) => deniesAll(rule, port));
      if (hit === undefined) return [];
      const message = `asks for HTTP fields only, so a sidecar denies everything at ${hit.label}, which is no HTTP`;
      return [doubt(meta.source, `spec.rules[${index}]`, message, 'name the HTTP ports in `ports`')];
    });
  });
}

/** Whether workloads behind a Service's selector may have the labels. */
function mayBeOne(wanted: Readonly<Record<string, string>>, selector: Readonly<Record<string, string>>): boolean {
  const names = Object.keys(wanted);
  const fits = names.every((name) => (selector[name] ?? wanted[name]) === wanted[name]);
  return fits && (names.length === 0 || names.some((name) => selector[name] === wanted[name]));
}

const isAsked = (values: readonly string[] | undefined): boolean => values !== undefined && values.length > 0;

const httpSource = new Set(['requestPrincipals', 'notRequestPrincipals']);
const httpOperation = new Set(['hosts', 'notHosts', 'methods', 'notMethods', 'paths', 'notPaths']);
const isHttpKey = (key: string): boolean => /^request\.(headers|auth)\b/.test(key);

/** Whether the rule, without its HTTP fields, matches whatever comes to the port; a rule that asks for nothing was written so. */
function deniesAll({ from = [], to = [], when = [] }: PolicyRule, port: number | undefined): boolean {
  const onlyHttp = (fields: object, http: ReadonlySet<string>): boolean =>
    Object.entries(fields).every(([name, values]) => http.has(name) || !isAsked(values as readonly string[] | undefined));
  const reaches = (ports: readonly string[] | undefined): boolean =>
    !isAsked(ports) || ports?.some((one) => Number(one) === port) === true;
  const asksNothing = from.length === 0 && to.length === 0 && when.length === 0;
  return (
    !asksNothing &&
    when.every(({ key }) => isHttpKey(key)) &&
    (from.length === 0 || from.some(({ source }) => onlyHttp(source, httpSource))) &&
    (to.length === 0 || to.some(({ operation: { ports, ...rest } }) => reaches(ports) && onlyHttp(rest, httpOperation))) &&
    (when.length > 0 ||
      from.some(({ source }) => hasAny(source)) ||
      to.some(({ operation: { ports: _, ...rest } }) => hasAny(rest)))
  );
}

const hasAny = (fields: object): boolean =>
  Object.values(fields).some((values) => isAsked(values as readonly string[] | undefined));
