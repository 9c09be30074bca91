import { describe, expect, it } from 'vitest';
import { formatProblem } from './problem.js';
import { defaultMeshSettings } from './mesh-config.js';
import { configLimits, validateDocuments, type ConfigFile } from './validate.js';

/** As `kubectl get authorizationpolicies,services,deployments,virtualservices -A -o yaml` prints them. */
const dump = `
apiVersion: v1
items:
- apiVersion: security.istio.io/v1
  kind: AuthorizationPolicy
  metadata:
    annotations:
      kubectl.kubernetes.io/last-applied-configuration: |
        {"apiVersion":"security.istio.io/v1","kind":"AuthorizationPolicy","metadata":{},"spec":{}}
    creationTimestamp: "2026-03-01T09:30:00Z"
    generation: 2
    labels:
      app.kubernetes.io/part-of: shop
    managedFields:
    - apiVersion: security.istio.io/v1
      fieldsType: FieldsV1
      fieldsV1:
        f:metadata:
          f:annotations:
            .: {}
            f:kubectl.kubernetes.io/last-applied-configuration: {}
        f:spec:
          .: {}
          f:rules: {}
      manager: kubectl-client-side-apply
      operation: Update
      time: "2026-03-01T09:30:00Z"
    name: stock
    namespace: shop
    resourceVersion: "184212"
    uid: 3f0c5f7e-7d8f-4d8e-9a53-0f2c7a1f4b11
  spec:
    rules:
    - from:
      - source:
          principals:
          - cluster.local/ns/shop/sa/gateway
      to:
      - operation:
          methods:
          - GET
    selector:
      matchLabels:
        app: stock
  status:
    conditions:
    - lastTransitionTime: "2026-03-01T09:30:01Z"
      message: anything
      status: "True"
- apiVersion: v1
  kind: Service
  metadata:
    creationTimestamp: "2026-03-01T09:29:00Z"
    name: stock
    namespace: shop
    ownerReferences:
    - {apiVersion: apps/v1, kind: Deployment, name: stock, uid: x}
  spec:
    clusterIP: 10.96.14.3
    clusterIPs:
    - 10.96.14.3
    internalTrafficPolicy: Cluster
    ipFamilies:
    - IPv4
    ports:
    - name: http
      nodePort: 30080
      port: 80
      protocol: TCP
      targetPort: 8080
    - name: admin
      port: 81
      targetPort: admin
    selector:
      app: stock
    sessionAffinity: None
    type: ClusterIP
  status:
    loadBalancer: {}
- apiVersion: apps/v1
  kind: Deployment
  metadata: {name: stock, namespace: shop}
  spec: {replicas: 2, template: {spec: {containers: [{name: c, image: "x:1", env: [{name: A, value: "on"}]}]}}}
- apiVersion: apps/v1
  kind: Deployment
  metadata: {name: product, namespace: shop}
- apiVersion: networking.istio.io/v1
  kind: VirtualService
  metadata: {name: stock, namespace: shop}
  spec: {hosts: [stock]}
kind: List
metadata:
  resourceVersion: ""
`;

const policy = (name: string, spec = '{rules: [{}]}', namespace = 'shop'): string =>
  `apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: ${name}, namespace: ${namespace}}\nspec: ${spec}\n`;

function run(...files: (string | ConfigFile)[]): {
  resources: ReturnType<typeof validateDocuments>['resources'];
  problems: string[];
} {
  const result = validateDocuments(
    files.map((file, index) => (typeof file === 'string' ? { name: `${index}.yaml`, text: file } : file)),
  );
  return {
    resources: result.resources,
    problems: result.problems.map((problem) => `${problem.level} ${problem.code} ${formatProblem(problem)}`),
  };
}

describe('validateDocuments', () => {
  it('reads what kubectl prints, and passes over the rest with one warning a kind', () => {
    const { resources, problems } = run(dump);
    expect(problems).toEqual([
      'warning ENMESH_CONFIG_PASSED_OVER 0.yaml:81:9 items[2].kind: Deployment (apps) is not read by enmesh: 2 documents passed over',
      'warning ENMESH_CONFIG_PASSED_OVER 0.yaml:88:9 items[4].kind: VirtualService (networking.istio.io) is not read by enmesh: one document passed over',
    ]);
    expect(resources?.authorizationPolicies).toEqual([
      {
        meta: {
          kind: 'AuthorizationPolicy',
          namespace: 'shop',
          name: 'stock',
          creationTimestamp: Date.UTC(2026, 2, 1, 9, 30),
          labels: { 'app.kubernetes.io/part-of': 'shop' },
          annotations: { 'kubectl.kubernetes.io/last-applied-configuration': expect.any(String) as string },
          source: { file: '0.yaml', line: 4, column: 3 },
          ruleStarts: [{ line: 34, column: 7 }],
        },
        spec: {
          rules: [
            {
              from: [{ source: { principals: ['cluster.local/ns/shop/sa/gateway'] } }],
              to: [{ operation: { methods: ['GET'] } }],
            },
          ],
          selector: { matchLabels: { app: 'stock' } },
        },
      },
    ]);
    expect(resources?.registry.services.map((service) => service.spec)).toEqual([
      {
        clusterIP: '10.96.14.3',
        clusterIPs: ['10.96.14.3'],
        ports: [
          { number: 80, name: 'http', protocol: 'TCP', targetPort: 8080 },
          { number: 81, name: 'admin', targetPort: 'admin' },
        ],
        selector: { app: 'stock' },
        type: 'ClusterIP',
      },
    ]);
  });

  it('gives a result that can be posted to another thread', () => {
    const result = validateDocuments([{ name: 'dump.yaml', text: dump }]);
    expect(structuredClone(result)).toEqual(result);
  });

  it('takes Istio’s defaults where nothing is configured', () => {
    const { resources } = run();
    expect(resources?.mesh).toEqual(defaultMeshSettings);
    expect(resources?.authorizationPolicies).toEqual([]);
  });

  it('keeps the order of files and documents, and shares PeerAuthentications with the registry', () => {
    const peer =
      'apiVersion: security.istio.io/v1beta1\nkind: PeerAuthentication\nmetadata: {name: d, namespace: shop}\nspec: {mtls: {mode: STRICT}}\n';
    const { resources } = run(`${policy('b')}---\n${policy('a')}`, peer);
    expect(resources?.authorizationPolicies.map((one) => one.meta.name)).toEqual(['b', 'a']);
    expect(resources?.registry.peerAuthentications).toEqual(resources?.peerAuthentications);
  });

  it('reports every problem of every file at once, and yields no resources', () => {
    const { resources, problems } = run(
      policy('a', '{ruls: [{}]}'),
      policy('b', '{rules: [{from: [{source: {principal: [x]}}], to: [{}]}]}'),
      'a: [',
    );
    expect(resources).toBeUndefined();
    expect(problems).toEqual([
      'error ENMESH_CONFIG_FIELD_UNKNOWN 0.yaml:4:8 spec.ruls: there is no field "ruls" here (did you mean "rules"?)',
      'error ENMESH_CONFIG_FIELD_UNKNOWN 1.yaml:4:34 spec.rules[0].from[0].source.principal: there is no field "principal" here (did you mean "principals"?)',
      'error ENMESH_CONFIG_VALUE_INVALID 1.yaml:4:58 spec.rules[0].to[0]: lacks "operation"',
      'error ENMESH_CONFIG_SYNTAX 2.yaml:1:5: wrong indentation, or a bracket, brace or quote that is never closed',
    ]);
  });

  it('names both places of a resource that is defined twice, in whichever version', () => {
    const older = policy('a').replace('/v1', '/v1beta1');
    expect(run(policy('a'), older).problems).toEqual([
      'error ENMESH_CONFIG_DUPLICATE 1.yaml:3:18 metadata.name: AuthorizationPolicy shop/a is defined twice, first at 0.yaml:1 (remove one, or rename it)',
    ]);
    expect(run(policy('a'), policy('a', '{}', 'core')).problems).toEqual([]);
  });

  it.each([
    ['no kind', 'apiVersion: v1\n', '0.yaml:1:1: lacks `kind`'],
    ['no apiVersion', 'kind: Service\n', 'lacks `apiVersion`'],
    ['a misspelt apiVersion field', 'apiversion: v1\nkind: Service\n', 'is "apiversion" meant to be apiVersion?'],
    ['a list as a document', '- a\n', 'a document must be a resource with apiVersion and kind, not a list'],
    [
      'a version that never was',
      policy('a').replace('/v1', '/v1alpha1'),
      '0.yaml:1:13 apiVersion: there is no such version of AuthorizationPolicy (write security.istio.io/v1 or security.istio.io/v1beta1)',
    ],
    [
      'an invented security kind',
      policy('a').replace('AuthorizationPolicy', 'AuthorisationPolicy'),
      'did you mean "AuthorizationPolicy"?',
    ],
    [
      'an invented networking kind',
      policy('a').replace('security', 'networking'),
      'there is no kind "AuthorizationPolicy" in networking.istio.io',
    ],
    ['an invented enmesh kind', 'apiVersion: enmesh.dev/v1\nkind: TokenPropagations\n', 'did you mean "TokenPropagation"?'],
    ['a misspelt group', policy('a').replace('security.', 'securty.'), 'did you mean security.istio.io/v1?'],
    ['a missing group', policy('a').replace('security.istio.io/', ''), 'did you mean security.istio.io/v1?'],
    [
      'a policy of a foreign group',
      policy('a').replace('security.istio.io/v1', 'policy.example/v1'),
      'did you mean security.istio.io/v1?',
    ],
    [
      'a policy of a group that is none',
      policy('a').replace('security.istio.io/v1', 'unix:///x'),
      'did you mean security.istio.io/v1?',
    ],
    ['a missing version', policy('a').replace('istio.io/v1', 'istio.io'), 'did you mean security.istio.io/v1?'],
    [
      'a wrong kind inside a List',
      `apiVersion: v1\nkind: List\nitems: [{apiVersion: security.istio.io/v1, kind: X}]\n`,
      '0.yaml:3:50 items[0].kind: there is no kind "X"',
    ],
  ])('refuses %s', (_what, text, expected) => {
    const { resources, problems } = run(text);
    expect(resources).toBeUndefined();
    expect(problems.join('\n')).toContain(expected);
    expect(problems.join('\n')).toContain('ENMESH_CONFIG_KIND_UNKNOWN');
  });

  it.each([
    ['metadata', 'apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n', 'lacks `metadata`'],
    [
      'a namespace',
      policy('a').replace(', namespace: shop', ''),
      'AuthorizationPolicy needs a `namespace`: there is no kubectl context to take one from (add metadata.namespace)',
    ],
    ['a name', policy('a').replace('name: a, ', ''), 'lacks `name`'],
    ['a valid name', policy('A_1'), '"A_1" is no name of a Kubernetes object'],
    ['a valid namespace', policy('a', '{}', 'a.b'), '"a.b" is no namespace'],
    ['a name that is a string', policy('123'), 'metadata.name: must be a string, not a number'],
    ['known metadata', policy('a').replace('namespace:', 'labls: {}, namespace:'), 'did you mean "labels"?'],
    [
      'labels that are strings',
      policy('a').replace('namespace:', 'labels: {v: on}, namespace:'),
      'Kubernetes reads the unquoted "on" as a boolean',
    ],
    [
      'a timestamp that is one',
      policy('a').replace('namespace:', 'creationTimestamp: yesterday, namespace:'),
      'metadata.creationTimestamp: is no time',
    ],
    ['no invented top level', `${policy('a')}sepc: {}\n`, 'did you mean "spec"?'],
    ['a spec that is not null', policy('a', 'null'), 'spec: must be a map, not null'],
  ])('demands %s', (_what, text, expected) => {
    const { resources, problems } = run(text);
    expect(resources).toBeUndefined();
    expect(problems.join('\n')).toContain(expected);
  });

  it('reads null metadata of kubectl create --dry-run as absent', () => {
    const text = policy('a').replace('namespace:', 'creationTimestamp: null, annotations: null, namespace:');
    expect(run(`${text}status: {}\n`).resources?.authorizationPolicies[0]?.meta.creationTimestamp).toBe(0);
  });

  it('warns of a TokenPropagation where kubectl would meet it', () => {
    const text = 'apiVersion: enmesh.dev/v1\nkind: TokenPropagation\nmetadata: {name: g, namespace: shop}\nspec: {}\n';
    expect(run(text).problems.join()).toContain('ENMESH_CONFIG_DOUBTFUL');
    expect(run({ name: 'enmesh/tokens.yaml', text }).problems).toEqual([]);
  });

  it('never holds a value that a policy compares with in a message', () => {
    const secret = 'hunter2-hunter2';
    const texts = [
      policy('a', `{rules: [{when: [{key: "request.headers[x-key]", values: [[${secret}]], value: ${secret}}]}]}`),
      policy('a', `{rules: [{to: [{operation: {methods: {${secret}x: 1}}}]}]}`).replace(`{${secret}x: 1}`, secret),
      policy('a', `{action: "${secret}"}`),
    ];
    for (const text of texts) {
      expect(run(text).resources).toBeUndefined();
      expect(run(text).problems.join('\n')).not.toContain(secret);
    }
  });

  it('knows where each rule of a policy begins', () => {
    const { resources } = run(
      `# a comment\n${policy('a', '{}').replace('spec: {}', 'spec:\n  rules:\n  - {}\n  -\n    to: []\n')}`,
    );
    const lines = resources?.authorizationPolicies.map(({ meta }) => meta.ruleStarts);
    expect(lines).toEqual([
      [
        { line: 7, column: 5 },
        { line: 9, column: 5 },
      ],
    ]);
  });

  describe('limits', () => {
    it('refuses a file that is too big without reading it', () => {
      const { problems } = run(`# ${'x'.repeat(configLimits.fileBytes)}`);
      expect(problems).toEqual(['error ENMESH_CONFIG_LIMIT 0.yaml:1:1: the file has more than 8 MiB']);
    });

    it('refuses a directory that is too big', () => {
      const text = `# ${'x'.repeat(configLimits.fileBytes - 2)}`;
      const { problems } = run(...Array.from({ length: 9 }, () => text));
      expect(problems).toEqual(['error ENMESH_CONFIG_LIMIT 8.yaml:1:1: with this file the directory has more than 64 MiB']);
    });

    it('refuses more rules than are compiled', () => {
      const rules = `{rules: [${Array(512).fill('{}').join(',')}]}`;
      const count = Math.floor(configLimits.rules / 512) + 1;
      const { resources, problems } = run(Array.from({ length: count }, (_, index) => policy(`p${index}`, rules)).join('---\n'));
      expect(resources).toBeUndefined();
      expect(problems.join()).toContain(`${count * 512} rules in all; at most 50000 are allowed`);
    });
  });
});
