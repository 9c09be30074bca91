import { describe, expect, it } from 'vitest';
import { formatProblem } from './problem.js';
import { validateDocuments } from './validate.js';

const head = 'apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a, namespace: shop}\n';
const said = (text: string): string[] =>
  validateDocuments([{ name: 'a.yaml', text }]).problems.map((problem) => `${problem.level} ${formatProblem(problem)}`);
const fromSource = (fields: string): string => `${head}spec:\n  rules:\n  - from:\n    - source:\n        ${fields}\n`;

describe('a mistake that people make', () => {
  it.each([
    [
      'fields of a source that stand beside it',
      `${head}spec:\n  rules:\n  - from:\n    - source:\n      principals: ["cluster.local/ns/shop/sa/web"]\n`,
      [
        'error a.yaml:7:14 spec.rules[0].from[0].source: must be a map, not null (its fields must be indented further than itself)',
        'error a.yaml:8:7 spec.rules[0].from[0].principals: there is no field "principals" here (it belongs to a `source`, an entry of `from`)',
      ],
    ],
    [
      'a `to` indented under `from`',
      `${head}spec:\n  rules:\n  - from:\n    - source: {namespaces: [web]}\n      to:\n      - operation: {methods: [GET]}\n`,
      [
        'error a.yaml:8:7 spec.rules[0].from[0].to: there is no field "to" here (it belongs to a rule, an entry of `rules`, beside one another)',
      ],
    ],
    [
      'rules outside of the spec, and labels without matchLabels',
      `${head}spec:\n  selector: {app: a}\nrules: []\n`,
      [
        'error a.yaml:6:1 rules: there is no field "rules" here (it belongs to `spec`)',
        'error a.yaml:5:14 spec.selector.app: there is no field "app" here (it belongs to `selector.matchLabels`)',
      ],
    ],
    [
      'rules without dashes',
      `${head}spec:\n  rules:\n    to: []\n`,
      ['error a.yaml:6:5 spec.rules: must be a list, not a map (begin each entry with "- ")'],
    ],
    [
      'a dash too many',
      `${head}spec:\n- action: DENY\n`,
      ['error a.yaml:5:1 spec: must be a map, not a list (remove the "- " before its fields)'],
    ],
    [
      'brackets without quotes in a condition on one line',
      `${head}spec:\n  rules:\n  - when: [{key: request.auth.claims[groups], values: [a]}]\n`,
      ['error a.yaml:6:37: unexpected text; between [ ] or { } a value that has one of [ ] { } , in it must be in quotes'],
    ],
    [
      'MeshConfig beside the policies',
      'trustDomain: cluster.local\n',
      [
        'error a.yaml:1:1: lacks `kind` (fields of MeshConfig stand in enmesh/mesh.yaml of the configuration directory)',
        'error a.yaml:1:1: lacks `apiVersion` (fields of MeshConfig stand in enmesh/mesh.yaml of the configuration directory)',
      ],
    ],
    [
      'the description of a workload among the policies',
      'namespace: shop\nserviceAccount: product\n',
      [
        'error a.yaml:1:1: lacks `kind` (the description of a workload, enmesh.yaml, stands beside the service, not in the configuration directory)',
        'error a.yaml:1:1: lacks `apiVersion` (the description of a workload, enmesh.yaml, stands beside the service, not in the configuration directory)',
      ],
    ],
    [
      'the wrong case of a field',
      `${head}spec:\n  Action: DENY\n`,
      ['error a.yaml:5:3 spec.Action: there is no field "Action" here (did you mean "action"?)'],
    ],
    [
      'the singular of a field',
      fromSource('principal: [cluster.local/ns/shop/sa/web]'),
      [
        'error a.yaml:8:9 spec.rules[0].from[0].source.principal: there is no field "principal" here (did you mean "principals"?)',
      ],
    ],
    [
      'a `*` without quotes',
      fromSource('principals: [*]'),
      ['error a.yaml:8:22: a value that begins with * or & must be in quotes'],
    ],
    [
      'a principal among service accounts',
      fromSource('serviceAccounts: [cluster.local/ns/shop/sa/web]'),
      [
        'error a.yaml:8:27 spec.rules[0].from[0].source.serviceAccounts[0]: "cluster.local/ns/shop/sa/web" is a principal: write "shop/web", or put it in `principals`',
      ],
    ],
    [
      'a namespace with its prefix',
      fromSource('namespaces: [ns/shop]'),
      [
        'warning a.yaml:8:22 spec.rules[0].from[0].source.namespaces[0]: never matches: a namespace is written alone, without "ns/" and without a service account',
      ],
    ],
    [
      'the kind of another group',
      head.replace('security', 'networking'),
      [
        'error a.yaml:2:7 kind: there is no kind "AuthorizationPolicy" in networking.istio.io (AuthorizationPolicy is a kind of security.istio.io/v1)',
      ],
    ],
    [
      'half a group',
      head.replace('security.', ''),
      ['error a.yaml:1:13 apiVersion: "istio.io/v1" has no kind "AuthorizationPolicy" (did you mean security.istio.io/v1?)'],
    ],
    [
      'a legacy policy',
      'apiVersion: authentication.istio.io/v1alpha1\nkind: Policy\nmetadata: {name: default, namespace: shop}\n',
      [
        'error a.yaml:2:7 kind: "Policy" of authentication.istio.io is no longer obeyed by anyone (`enmesh convert` writes it anew in the kinds of today)',
      ],
    ],
  ])('is told with its place and its cure: %s', (_what, text, expected) => {
    expect(said(text)).toEqual(expected);
  });

  it.each([
    'ns/shop/sa/web',
    'shop/web',
    'system:serviceaccount:shop:web',
    'web',
    'cluster.local/ns/*/sa/web',
    'cluster.local//web',
  ])('is doubted: the principal %s', (value) => {
    expect(said(fromSource(`principals: ["${value}"]`))).toEqual([
      expect.stringMatching(/^warning a\.yaml:8:22 spec\.rules\[0\]\.from\[0\]\.source\.principals\[0\]: (never )?matches/),
    ]);
  });

  it.each(['cluster.local/ns/shop/sa/web', '*', '*/sa/web', 'cluster.local/ns/shop/*', 'spire.example/web', 'td/workload/7/x'])(
    'is not the principal %s',
    (value) => {
      expect(said(fromSource(`principals: ["${value}"]`))).toEqual([]);
    },
  );
});
