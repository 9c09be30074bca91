import { formatProblem, validateDocuments } from '@enmesh/core/config';
import { describe, expect, it } from 'vitest';
import { documentDoubts } from './document-doubts.js';

const document = (kind: string, spec: object, apiVersion = 'security.istio.io/v1'): object => ({
  ...{ apiVersion, kind, spec },
  metadata: { name: kind.toLowerCase(), namespace: 'shop' },
});

function doubts(documents: readonly object[], mesh = '', allowsHttp?: (issuer: string) => boolean): string[] {
  const text = documents.map((one) => JSON.stringify(one)).join('\n---\n');
  const files = [
    { name: 'm.yaml', text },
    { name: 'enmesh/mesh.yaml', text: mesh, meshConfig: true },
  ];
  const { resources, problems } = validateDocuments(files);
  expect(problems.filter(({ level }) => level === 'error').map(formatProblem)).toEqual([]);
  return documentDoubts(resources!, allowsHttp).map(formatProblem);
}

const entry = (host: string, port: number, fields: object = {}): object =>
  document(
    'ServiceEntry',
    { hosts: [host], ports: [{ number: port, name: 'http', protocol: 'HTTP' }], resolution: 'DNS', ...fields },
    'networking.istio.io/v1',
  );

describe('a key set over plain http', () => {
  const rule = document('RequestAuthentication', {
    jwtRules: [
      { issuer: 'https://a', jwksUri: 'https://a/keys' },
      { issuer: 'b', jwksUri: 'http://idp.example:8080/keys' },
    ],
  });

  it('is doubted, with the line that allows it', () => {
    expect(doubts([rule])).toEqual([
      'm.yaml:1:1 spec.jwtRules[1].jwksUri: keys are not fetched over plain http, so no token of this issuer is accepted (use https, or allow it in enmesh.yaml: jwks: {"b": {insecureHttp: true}})',
    ]);
  });

  it('is not doubted where a service file allows it, nor where mutual TLS of the mesh carries it', () => {
    expect(doubts([rule], '', (issuer) => issuer === 'b')).toEqual([]);
    const endpoints = [{ address: '10.0.0.1', serviceAccount: 'idp' }];
    const internal = entry('idp.example', 8080, { location: 'MESH_INTERNAL', resolution: 'STATIC', endpoints });
    expect(doubts([rule, internal])).toEqual([]);
  });
});

describe('a provider', () => {
  const mesh = 'extensionProviders: [{name: ext, envoyExtAuthzHttp: {service: authz.tools.svc.cluster.local, port: 8000}}]';
  const custom = document('AuthorizationPolicy', { action: 'CUSTOM', provider: { name: 'ext' }, rules: [{}] });

  it('whose service nobody declares is doubted at the policy that asks it', () => {
    const sentence = 'no Service or ServiceEntry declares authz.tools.svc.cluster.local:8000, where provider "ext" is';
    expect(doubts([custom], mesh)).toEqual([expect.stringContaining(`m.yaml:1:1 spec.provider.name: ${sentence}`)]);
    expect(doubts([custom, entry('authz.tools.svc.cluster.local', 9000)], mesh)).toHaveLength(1);
  });

  it('is not doubted when it is declared, or when nobody asks it', () => {
    expect(doubts([custom, entry('authz.tools.svc.cluster.local', 8000)], mesh)).toEqual([]);
    expect(doubts([], mesh)).toEqual([]);
  });
});

describe('a DENY of HTTP fields', () => {
  const service = document(
    'Service',
    {
      selector: { app: 'db' },
      ports: [
        { name: 'http', port: 80, targetPort: 8080 },
        { name: 'tcp-db', port: 3306 },
      ],
    },
    'v1',
  );
  const deny = (rule: object, fields: object = {}): object =>
    document('AuthorizationPolicy', { action: 'DENY', rules: [rule], ...fields });
  const path = { to: [{ operation: { paths: ['/admin'] } }] };

  it.each<[string, object]>([
    ['paths', deny(path)],
    ['paths at that port', deny({ to: [{ operation: { paths: ['/admin'], ports: ['3306'] } }] })],
    ['a header', deny({ when: [{ key: 'request.headers[x]', values: ['y'] }] })],
    ['a user', deny({ from: [{ source: { notRequestPrincipals: ['*'] } }] })],
    ['paths of its workloads', deny(path, { selector: { matchLabels: { app: 'db' } } })],
  ])('is doubted by %s where a port of the Service is TCP', (_, policy) => {
    expect(doubts([service, policy])).toEqual([
      'm.yaml:3:1 spec.rules[0]: asks for HTTP fields only, so a sidecar denies everything at port 3306 of Service shop/service, which is no HTTP (name the HTTP ports in `ports`)',
    ]);
  });

  it.each<[string, object]>([
    ['at a port with HTTP', deny({ to: [{ operation: { paths: ['/admin'], ports: ['8080'] } }] })],
    ['beside a field that TCP has', deny({ ...path, from: [{ source: { principals: ['a/ns/b/sa/c'] } }] })],
    ['of other workloads', deny(path, { selector: { matchLabels: { app: 'web' } } })],
    ['in an ALLOW', document('AuthorizationPolicy', { rules: [path] })],
    ['that asks nothing', deny({})],
    ['by a port alone', deny({ to: [{ operation: { ports: ['3306'] } }] })],
  ])('is not doubted %s', (_, policy) => {
    expect(doubts([service, policy])).toEqual([]);
  });
});
