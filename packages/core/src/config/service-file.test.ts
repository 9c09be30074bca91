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
    });
  });

  it('reads `identity: dev` as the development authority with its defaults', () => {
    expect(parseServiceFile('identity: dev\n', 'enmesh.yaml')).toEqual({ identity: { dev: {} } });
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
    ['an unknown identity', 'identity: Dev\n', 'is no source of identity (did you mean "dev"?)'],
    ['an identity of a later version', 'identity: spiffe\n', 'identity spiffe is not in this version'],
    ['a later identity as a map', 'identity: {files: {}}\n', 'identity files is not in this version'],
    ['an empty identity', 'identity: {}\n', 'identity: lacks "dev"'],
    ['an unknown option of dev', 'identity: {dev: {ttl: 1}}\n', 'identity.dev.ttl: there is no field "ttl" here'],
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
