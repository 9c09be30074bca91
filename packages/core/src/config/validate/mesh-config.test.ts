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
trustDomainAliases: [td1, old.example, td1]
caCertificates:
- trustDomains: [partner.example]
- trustDomains: [other.example]
rootNamespace: mesh-root
pathNormalization: {normalization: DECODE_AND_MERGE_SLASHES}
outboundTrafficPolicy: {mode: REGISTRY_ONLY}
meshMTLS: {minProtocolVersion: TLSV1_3, cipherSuites: [ECDHE-ECDSA-AES256-GCM-SHA384]}
tlsDefaults: {cipherSuites: [ECDHE-RSA-AES256-GCM-SHA384], ecdhCurves: [P-384, X25519]}
enableAutoMtls: false
defaultServiceExportTo: [., ops]
defaultDestinationRuleExportTo: [.]
h2UpgradePolicy: UPGRADE
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
        defaultServiceExportTo: ['.', 'ops'],
        defaultDestinationRuleExportTo: ['.'],
        outboundTrafficPolicy: 'REGISTRY_ONLY',
        minProtocolVersion: 'TLSv1.3',
        cipherSuites: ['ECDHE-ECDSA-AES256-GCM-SHA384'],
        tlsDefaults: { cipherSuites: ['ECDHE-RSA-AES256-GCM-SHA384'], ecdhCurves: ['P-384', 'X25519'] },
        enableAutoMtls: false,
        h2UpgradePolicy: 'UPGRADE',
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

  it('keeps the default where a list of namespaces is empty, and refuses what is none', () => {
    expect(read('defaultServiceExportTo: []').mesh).toEqual(defaultMeshSettings);
    expect(read('defaultServiceExportTo: [A b]').problems).toContain('is neither a namespace nor one of');
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
    ['a TLS version in another spelling', 'meshMTLS: {minProtocolVersion: TLSv1_3}\n', 'did you mean TLSV1_3?'],
    ['a version that is none', 'tlsDefaults: {minProtocolVersion: "1.3"}\n', 'must be one of TLS_AUTO, TLSV1_2, TLSV1_3'],
    ['an unknown curve', 'tlsDefaults: {ecdhCurves: [P-257]}\n', '"P-257" is no curve of this Node.js (did you mean "P-256"?'],
    ["a curve by OpenSSL's other name with a slip", 'tlsDefaults: {ecdhCurves: [secp256r2]}\n', 'did you mean "P-256"?'],
    ['several curves in one', 'tlsDefaults: {ecdhCurves: ["P-256:P-384"]}\n', 'is no curve of this Node.js (write one'],
    ['an unknown cipher suite for clients', 'tlsDefaults: {cipherSuites: [ROT13]}\n', '"ROT13" is no cipher suite'],
    ['an unknown cipher suite', 'meshMTLS: {cipherSuites: [ROT13]}\n', '"ROT13" is no cipher suite (known here: ECDHE-ECDSA'],
    [
      'a cipher suite in small letters, which OpenSSL does not know',
      'meshMTLS: {cipherSuites: [ecdhe-ecdsa-aes256-gcm-sha384]}\n',
      'did you mean "ECDHE-ECDSA-AES256-GCM-SHA384"?',
    ],
    [
      "a cipher suite by IANA's name",
      'meshMTLS: {cipherSuites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]}\n',
      'did you mean "ECDHE-RSA-AES128-GCM-SHA256"?',
    ],
    [
      "another by IANA's name",
      'tlsDefaults: {cipherSuites: [TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256]}\n',
      'did you mean "ECDHE-ECDSA-CHACHA20-POLY1305"?',
    ],
    ["an old one by IANA's name", 'tlsDefaults: {cipherSuites: [TLS_RSA_WITH_AES_256_CBC_SHA]}\n', 'did you mean "AES256-SHA"?'],
    ['a cipher suite of TLS 1.3', 'meshMTLS: {cipherSuites: [TLS_AES_256_GCM_SHA384]}\n', 'cannot be chosen, as in Istio'],
    ['one without certificates', 'meshMTLS: {cipherSuites: [PSK-AES256-GCM-SHA384]}\n', 'is no cipher suite'],
    [
      'one that OpenSSL has left out',
      'meshMTLS: {cipherSuites: [DES-CBC3-SHA]}\n',
      'is no cipher suite of this Node.js (remove it',
    ],
    ['a namespace that is none', 'rootNamespace: a/b\n', 'is no namespace'],
    ['a list', '[]', 'must be a map, not a list'],
    ['a resource', 'apiVersion: v1\nkind: ConfigMap\n', 'there is no field "apiVersion" here'],
  ])('refuses %s', (_what, text, expected) => {
    const { mesh, problems } = read(text);
    expect(mesh).toBeUndefined();
    expect(problems).toContain(expected);
  });

  it('warns of a lowest version for gateways, which there are none of', () => {
    const { mesh, problems } = read('tlsDefaults: {minProtocolVersion: TLSV1_3, ecdhCurves: [X25519]}\n');
    expect(mesh).toMatchObject({ minProtocolVersion: 'TLSv1.2', tlsDefaults: { cipherSuites: [], ecdhCurves: ['X25519'] } });
    expect(problems).toMatch(
      /^warning enmesh\/mesh\.yaml:1:15 tlsDefaults\.minProtocolVersion: this field is for servers of gateways/,
    );
    expect(read('tlsDefaults: {minProtocolVersion: TLS_AUTO}\nmeshMTLS: {ecdhCurves: []}\n').problems).toBe('');
  });

  it('takes each cipher suite of Istio that this OpenSSL knows', () => {
    const names = 'ECDHE-ECDSA-CHACHA20-POLY1305, ECDHE-RSA-AES128-SHA, AES128-GCM-SHA256, AES256-SHA';
    expect(read(`meshMTLS: {cipherSuites: [${names}]}\n`)).toMatchObject({
      mesh: { cipherSuites: names.split(', ') },
      problems: '',
    });
  });

  it('refuses two of them', () => {
    expect(read('{}', '{}').problems).toContain('enmesh/mesh1.yaml:1:1: MeshConfig is given twice');
    expect(read('trustDomain: a\n---\ntrustDomain: b\n').mesh).toBeUndefined();
  });
});
