import { describe, expect, it } from 'vitest';
import { EnmeshError } from '../errors.js';
import { parseServiceFile } from './service-file.js';

function refusal(text: string): string {
  try {
    parseServiceFile(text, 'enmesh.yaml');
  } catch (error) {
    expect(error).toBeInstanceOf(EnmeshError);
    expect((error as EnmeshError).code).toBe('ENMESH_CONFIG_SERVICE_FILE_INVALID');
    return (error as EnmeshError).message;
  }
  return 'admitted';
}

describe('parseServiceFile', () => {
  it('reads every field', () => {
    const text = `
namespace: shop
serviceAccount: gateway
labels: {app: gateway, version: "1"}
identity: {dev: {directory: ../.enmesh, allowAnywhere: true}}
config: ./mesh
jwks:
  "https://idp.example": {insecureHttp: true}
  snapshotDirectory: keys
permissiveAnyAlpn: true
istioHeaders: false
log: false
accessLog: {file: access.log, format: istio}
auditClaims: [groups]
`;
    expect(parseServiceFile(text, 'enmesh.yaml')).toEqual({
      namespace: 'shop',
      serviceAccount: 'gateway',
      labels: { app: 'gateway', version: '1' },
      identity: { dev: { directory: '../.enmesh', allowAnywhere: true } },
      config: './mesh',
      jwks: { 'https://idp.example': { insecureHttp: true }, snapshotDirectory: 'keys' },
      permissiveAnyAlpn: true,
      istioHeaders: false,
      log: false,
      accessLog: { file: 'access.log', format: 'istio' },
      auditClaims: ['groups'],
    });
  });

  it('reads `identity: dev` as the development authority with its defaults', () => {
    expect(parseServiceFile('identity: dev\n', 'enmesh.yaml')).toEqual({ identity: { dev: {} } });
  });

  it.each([
    ['auto', { auto: true }],
    ['files', { files: {} }],
    ['istio', { istio: {} }],
    ['spiffe', { spiffe: {} }],
    ['{files: {directory: ./certs, roots: ca.pem}}', { files: { directory: './certs', roots: 'ca.pem' } }],
    [
      '{files: {certificate: a, privateKey: b, roots: c, federated: {partner.example: d}}}',
      { files: { certificate: 'a', privateKey: 'b', roots: 'c', federated: { 'partner.example': 'd' } } },
    ],
    [
      '{istio: {address: "[::1]:15012", ttlSeconds: 3600, keyType: ecdsa-p256, headers: {x-a: b}}}',
      { istio: { address: '[::1]:15012', ttlSeconds: 3600, keyType: 'ecdsa-p256', headers: { 'x-a': 'b' } } },
    ],
    [
      '{spiffe: {socket: "unix:///run/agent.sock", hint: internal}}',
      { spiffe: { socket: 'unix:///run/agent.sock', hint: 'internal' } },
    ],
  ])('reads `identity: %s`', (text, identity) => {
    expect(parseServiceFile(`identity: ${text}\n`, 'enmesh.yaml')).toEqual({ identity });
  });

  it('finds nothing in an empty file', () => {
    expect(parseServiceFile('# nothing yet\n', 'enmesh.yaml')).toEqual({});
  });

  it.each([
    [
      'a misspelt field',
      'namespace: shop\nserviceacount: x\n',
      'enmesh.yaml:2:1 serviceacount: there is no field "serviceacount" here (did you mean "serviceAccount"?)',
    ],
    ['a wrong namespace', 'namespace: Shop\n', 'enmesh.yaml:1:12 namespace: "Shop" is no namespace'],
    [
      'a label that is a number',
      'labels: {version: 1}\n',
      'enmesh.yaml:1:19 labels.version: must be a string, not a number (put it in quotes)',
    ],
    ['a flag in quotes', 'log: "false"\n', 'enmesh.yaml:1:6 log: must be true or false, not a string'],
    ['a flag of YAML 1.1', 'permissiveAnyAlpn: yes\n', 'must be true or false'],
    ['an unknown identity', 'identity: Dev\n', 'enmesh.yaml:1:11 identity: "Dev" is no source of identity (did you mean "dev"?)'],
    [
      'a misspelt source',
      'identity: {spifee: {}}\n',
      'identity.spifee: there is no field "spifee" here (did you mean "spiffe"?)',
    ],
    ['an empty identity', 'identity: {}\n', 'identity: names no source (known here: dev, files, istio, spiffe)'],
    [
      'two sources',
      'identity:\n  dev: {}\n  files: {directory: c}\n',
      'enmesh.yaml:3:10 identity.files: a second source of identity',
    ],
    ['an identity that is a number', 'identity: 1\n', 'must be auto, dev, files, istio, spiffe or a map, not a number'],
    ['an unknown option of dev', 'identity: {dev: {ttl: 1}}\n', 'identity.dev.ttl: there is no field "ttl" here'],
    [
      'a directory beside files',
      'identity: {files: {directory: a, certificate: b}}\n',
      'directory and single files are both given',
    ],
    ['a certificate alone', 'identity: {files: {certificate: a}}\n', 'identity.files: lacks "privateKey"'],
    ['a wrong federated domain', 'identity: {files: {federated: {Other: a}}}\n', '"Other" is no trust domain'],
    ['an address without port', 'identity: {istio: {address: istiod}}\n', 'identity.istio.address: "istiod" is no host:port'],
    ['a key type that is none', 'identity: {istio: {keyType: rsa2048}}\n', 'did you mean rsa-2048?'],
    ['a life of nothing', 'identity: {istio: {ttlSeconds: 0}}\n', 'must be between 1 and'],
    [
      'a header that is the token',
      'identity: {istio: {headers: {Authorization: x}}}\n',
      'is no name of gRPC metadata that can be set',
    ],
    ['a socket without scheme', 'identity: {spiffe: {socket: /run/agent.sock}}\n', 'is no address of a Workload API'],
    ['a text for an issuer', 'jwks: {"https://a": keys}\n', 'must be a map'],
    ['a map for the snapshots', 'jwks: {snapshotDirectory: {insecureHttp: true}}\n', 'must be a string'],
    ['an unknown option of a key set', 'jwks: {"https://a": {insecureHTP: true}}\n', 'did you mean "insecureHttp"?'],
    ['a list', '- a\n', 'must be a map, not a list'],
    ['two documents', 'log: true\n---\nlog: false\n', 'enmesh.yaml:3:1: a second document'],
    ['a syntax error', 'labels: {a: b\n', 'enmesh.yaml:2:1: wrong indentation'],
  ])('refuses %s', (_what, text, expected) => {
    expect(refusal(text)).toContain(expected);
  });

  it('reports all problems at once', () => {
    expect(refusal('namespace: X\nlog: 1\nfoo: 2\n').split('\n')).toHaveLength(3);
  });
});
