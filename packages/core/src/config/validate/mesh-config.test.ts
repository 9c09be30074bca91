import { describe, expect, it } from 'vitest';
import { defaultMeshSettings } from '../mesh-config.js';
import { formatProblem } from '../problem.js';
import { validateDocuments, type ConfigFile } from '../validate.js';

function read(...texts: string[]): { mesh: unknown; problems: string } {
  const files = texts.map((text, index): ConfigFile => ({
    name: `enmesh/mesh${index === 0 ? '' : index}.yaml`,
    text,
    meshConfig: true,
  }));
  const { resources, problems } = validateDocuments(files);
  return { mesh: resources?.mesh, problems: problems.map((problem) => `${problem.level} ${formatProblem(problem)}`).join('\n') };
}

describe('MeshConfig', () => {
  it.each(['', '# nothing\n', '{}'])('is Istio’s defaults in %j', (text) => {
    expect(read(text)).toEqual({ mesh: defaultMeshSettings, problems: '' });
  });

  it('reads the fields that enmesh obeys', () => {
    const text = `
trustDomain: mesh.example
trustDomainAliases: [old.example, td1]
caCertificates:
- trustDomains: [partner.example]
- trustDomains: [other.example]
rootNamespace: mesh-root
pathNormalization: {normalization: DECODE_AND_MERGE_SLASHES}
outboundTrafficPolicy: {mode: REGISTRY_ONLY}
meshMTLS: {minProtocolVersion: TLSV1_3, cipherSuites: [ECDHE-ECDSA-AES256-GCM-SHA384]}
tlsDefaults: {cipherSuites: [ECDHE-RSA-AES256-GCM-SHA384], ecdhCurves: [P-384, X25519]}
enableAutoMtls: false
`;
    expect(read(text)).toEqual({
      mesh: {
        trustDomain: 'mesh.example',
        trustDomainAliases: ['old.example', 'td1'],
        caTrustDomains: ['partner.example', 'other.example'],
        caBundles: [],
        caBundleUrls: [],
        rootNamespace: 'mesh-root',
        pathNormalization: 'DECODE_AND_MERGE_SLASHES',
        outboundTrafficPolicy: 'REGISTRY_ONLY',
        minProtocolVersion: 'TLSv1.3',
        cipherSuites: ['ECDHE-ECDSA-AES256-GCM-SHA384'],
        tlsDefaults: { cipherSuites: ['ECDHE-RSA-AES256-GCM-SHA384'], ecdhCurves: ['P-384', 'X25519'] },
        enableAutoMtls: false,
        extensionProviders: [],
      },
      problems: '',
    });
  });

  it('takes DEFAULT normalization for BASE, and TLS_AUTO for 1.2', () => {
    expect(read('{pathNormalization: {normalization: DEFAULT}, meshMTLS: {minProtocolVersion: TLS_AUTO}}').mesh).toEqual(
      defaultMeshSettings,
    );
  });

  it('reads an outboundTrafficPolicy that names no mode as Istio does, by the zero of its protocol', () => {
    expect(read('outboundTrafficPolicy: {}').mesh).toMatchObject({ outboundTrafficPolicy: 'REGISTRY_ONLY' });
  });

  it('passes over other fields of Istio with one warning each', () => {
    const { mesh, problems } = read('enableTracing: true\ningressClass: x\ntrustDomain: td1\n');
    expect(mesh).toEqual({ ...defaultMeshSettings, trustDomain: 'td1' });
    expect(problems.split('\n')).toEqual([
      'warning enmesh/mesh.yaml:1:1 enableTracing: this field of MeshConfig is not obeyed by enmesh',
      'warning enmesh/mesh.yaml:2:1 ingressClass: this field of MeshConfig is not obeyed by enmesh',
    ]);
  });

  it.each([
    ['an invented field', 'trustDomian: x\n', 'did you mean "trustDomain"?'],
    ['a trust domain in capitals', 'trustDomain: Mesh\n', '"Mesh" is no trust domain'],
    ['a SPIFFE ID as trust domain', 'trustDomain: "spiffe://mesh.example"\n', 'is no trust domain'],
    ['an underscore in a trust domain', 'trustDomain: a_b\n', '"a_b" is no trust domain'],
    ['an empty label in an alias', 'trustDomainAliases: [.a]\n', '".a" is no trust domain'],
    ['curves inside the mesh', 'meshMTLS: {ecdhCurves: [P-256]}\n', 'Istio has no choice of curves in the mesh'],
    ['an unknown normalization', 'pathNormalization: {normalization: MERGE_SLASH}\n', 'did you mean MERGE_SLASHES?'],
    ['an unknown outbound mode', 'outboundTrafficPolicy: {mode: DENY}\n', 'must be one of ALLOW_ANY, REGISTRY_ONLY'],
    ['an old TLS version', 'meshMTLS: {minProtocolVersion: TLSV1_1}\n', 'must be one of TLS_AUTO, TLSV1_2, TLSV1_3'],
    ['an unknown curve', 'tlsDefaults: {ecdhCurves: [P-257]}\n', '"P-257" is no curve'],
    ['several curves in one', 'tlsDefaults: {ecdhCurves: ["P-256:P-384"]}\n', 'is no curve'],
    ['an unknown cipher suite for clients', 'tlsDefaults: {cipherSuites: [ROT13]}\n', '"ROT13" is no cipher suite'],
    ['an unknown cipher suite', 'meshMTLS: {cipherSuites: [ROT13]}\n', '"ROT13" is no cipher suite'],
    ['a namespace that is none', 'rootNamespace: a/b\n', 'is no namespace'],
    ['a list', '[]', 'must be a map, not a list'],
    ['a resource', 'apiVersion: v1\nkind: ConfigMap\n', 'there is no field "apiVersion" here'],
  ])('refuses %s', (_what, text, expected) => {
    const { mesh, problems } = read(text);
    expect(mesh).toBeUndefined();
    expect(problems).toContain(expected);
  });

  it('refuses two of them', () => {
    expect(read('{}', '{}').problems).toContain('enmesh/mesh1.yaml:1:1: MeshConfig is given twice');
    expect(read('trustDomain: a\n---\ntrustDomain: b\n').mesh).toBeUndefined();
  });
});
