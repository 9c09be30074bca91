import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { validateDocuments } from '../../packages/core/src/config/validate.js';
import { compileTlsModes } from '../../packages/core/src/tls/mode.js';

const corpora = process.env['ENMESH_CORPORA'] ?? resolve(import.meta.dirname, '../../../shared/corpora');
const folder = resolve(corpora, 'istio/pilot/pkg/serviceregistry/ambient/testdata');
const isPresent = existsSync(folder);
if (!isPresent) console.log(`skip: peer-authentication-ambient conformance, no corpus of Istio below ${corpora}`);

/** The policy into which Istio turns a PeerAuthentication for ztunnel, as far as modes go: it denies what has no peer. */
interface ZtunnelPolicy {
  readonly groups: readonly { readonly rules: readonly { readonly matches: readonly ZtunnelMatch[] }[] }[];
}

interface ZtunnelMatch {
  readonly destinationPorts?: readonly number[];
  readonly notDestinationPorts?: readonly number[];
  readonly notPrincipals?: readonly { readonly presence: object }[];
}

function matchesAnonymous(match: ZtunnelMatch, port: number): boolean {
  const unknown = Object.keys(match).filter((key) => !['destinationPorts', 'notDestinationPorts', 'notPrincipals'].includes(key));
  if (unknown.length > 0) throw new TypeError(`unknown match ${unknown.join()}`);
  // The one principal ever asked for is any: a connection without a peer satisfies `notPrincipals`.
  return (match.destinationPorts?.includes(port) ?? true) && !(match.notDestinationPorts?.includes(port) ?? false);
}

/** Whether a connection without a peer is denied on the port: one group, of which every rule has a match. */
const deniesAnonymous = ({ groups }: ZtunnelPolicy, port: number): boolean =>
  groups.some(({ rules }) => rules.every(({ matches }) => matches.some((match) => matchesAnonymous(match, port))));

/** Istio's test puts a policy without a namespace into none; configuration here must name one. */
const withNamespaces = (yaml: string): string =>
  yaml
    .split(/^---$/m)
    .map((one) => (/^ {2}namespace:/m.test(one) ? one : one.replace(/^metadata:$/m, 'metadata:\n  namespace: default')))
    .join('---');

function isStrictOn(yaml: string): (port: number) => boolean {
  const { resources, problems } = validateDocuments([{ name: 'policies.yaml', text: withNamespaces(yaml) }]);
  expect(problems.filter(({ level }) => level === 'error')).toEqual([]);
  const policies = resources?.peerAuthentications ?? [];
  const namespace = policies.map(({ meta }) => meta.namespace).find((name) => name !== 'istio-system') ?? 'default';
  const modes = compileTlsModes(policies, { namespace, labels: { app: 'a' } }, 'istio-system');
  return (port) => modes.modeFor(port) === 'STRICT';
}

const unnamedPort = 4242;
const portsOf = (yaml: string): number[] => [...yaml.matchAll(/^ +(\d+):/gm)].map(([, port]) => Number(port));

describe.skipIf(!isPresent)("Istio's PeerAuthentication inputs for ztunnel", () => {
  const inputs = isPresent ? readdirSync(folder).filter((file) => /^peer-authn-.*-in\.yaml$/.test(file)) : [];
  const read = (file: string): string => readFileSync(join(folder, file), 'utf8');

  it('asks for a peer on exactly the ports on which ztunnel is told to', () => {
    let asked = 0;
    for (const file of inputs) {
      const yaml = read(file);
      const policy = parse(read(file.replace('-in.yaml', '.yaml'))) as ZtunnelPolicy | null;
      const isStrict = isStrictOn(yaml);
      for (const port of [...portsOf(yaml), unnamedPort]) {
        // Without a policy of its own the workload takes the same on every port: Istio then attaches one fixed STRICT policy, or none.
        const wanted = policy === null ? isStrict(unnamedPort) : deniesAnonymous(policy, port);
        expect({ file, port, isStrict: isStrict(port) }).toEqual({ file, port, isStrict: wanted });
        asked += 1;
      }
    }
    console.log(`peer-authentication-ambient: ${inputs.length} inputs, ${asked} ports agree, 0 excused`);
    expect(inputs).toHaveLength(19);
  });
});
