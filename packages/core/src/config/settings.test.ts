import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { fixedSvidSource, type X509Svid } from '../identity/svid.js';
import { fixedTrustBundleSource } from '../identity/trust-bundle.js';
import { readSettings, type MeshOptions, type Settings } from './settings.js';

const folder = mkdtempSync(join(tmpdir(), 'enmesh-settings-'));
afterAll(() => rmSync(folder, { recursive: true }));

const read = (identity: string | undefined, env: NodeJS.ProcessEnv = {}, options: MeshOptions = {}): Settings => {
  const file = join(folder, 'enmesh.yaml');
  writeFileSync(file, `namespace: shop\nconfig: mesh\n${identity === undefined ? '' : `identity: ${identity}\n`}`);
  return readSettings({ file, env, ...options });
};
const value = { svid: fixedSvidSource({} as X509Svid), bundles: fixedTrustBundleSource(new Map()) };

describe('where the identity comes from', () => {
  it('is auto when nobody says, with the development authority beside the file', () => {
    expect(read(undefined)).toMatchObject({
      identity: { auto: true },
      isIdentitySaid: false,
      devDirectory: join(folder, '.enmesh'),
    });
  });

  it.each<[string, NodeJS.ProcessEnv, MeshOptions, unknown]>([
    ['files', {}, {}, { files: {} }],
    ['dev', { ENMESH_IDENTITY: 'spiffe' }, {}, { spiffe: {} }],
    ['dev', { ENMESH_IDENTITY: '' }, {}, { dev: { directory: join(folder, '.enmesh'), allowAnywhere: false } }],
    ['dev', { ENMESH_IDENTITY: 'spiffe' }, { identity: 'istio' }, { istio: {} }],
    ['{istio: {clusterId: c}}', { ENMESH_IDENTITY: 'istio' }, {}, { istio: { clusterId: 'c' } }],
    ['{istio: {clusterId: c}}', { ENMESH_IDENTITY: 'auto' }, {}, { auto: true }],
    ['files', { ENMESH_IDENTITY_DIRECTORY: '/certs' }, {}, { files: { directory: '/certs' } }],
    ['dev', { ENMESH_DEV_DIRECTORY: '/dev-ca' }, {}, { dev: { directory: '/dev-ca', allowAnywhere: false } }],
  ])('is, with %s in the file, environment %j and code %j, %j', (file, env, options, identity) => {
    expect(read(file, env, options).identity).toEqual(identity);
  });

  it('has its paths from the file in the file, and from the working directory in code', () => {
    const files = { directory: 'certs', federated: { 'a.example': 'a.pem' } };
    expect(read('{files: {directory: certs, federated: {a.example: a.pem}}}').identity).toEqual({
      files: { directory: join(folder, 'certs'), federated: { 'a.example': join(folder, 'a.pem') } },
    });
    expect(read('dev', {}, { identity: { files } }).identity).toEqual({
      files: { directory: resolve('certs'), federated: { 'a.example': resolve('a.pem') } },
    });
    expect(read('{istio: {rootCert: SYSTEM, tokenFile: token}}').identity).toEqual({
      istio: { rootCert: 'SYSTEM', tokenFile: join(folder, 'token') },
    });
  });

  it('is the very value that code gives', () => {
    expect(read('files', { ENMESH_IDENTITY: 'nonsense' }, { identity: value }).identity).toBe(value);
  });

  it('is refused under a name that does not exist', () => {
    const unknown = expect.objectContaining({ code: 'ENMESH_CONFIG_IDENTITY_UNKNOWN' });
    expect(() => read('dev', { ENMESH_IDENTITY: 'spifffe' })).toThrow(unknown);
    expect(() => read('dev', { ENMESH_IDENTITY: 'spifffe' })).toThrow('did you mean "spiffe"?');
    expect(() => read('dev', {}, { identity: 'isto' as 'istio' })).toThrow('createMesh: identity: "isto"');
    expect(() => read('dev', {}, { identity: { isto: {} } as unknown as { istio: object } })).toThrow(unknown);
    expect(() => read('dev', {}, { identity: { istio: {}, dev: {} } })).toThrow(TypeError);
  });

  it('is held to the rules of the file in code too', () => {
    const misspelt = { files: { dir: '/certs' } } as unknown as { files: object };
    expect(() => read('dev', {}, { identity: misspelt })).toThrow(
      new TypeError(
        'createMesh: identity.files.dir: there is no field "dir" here (known here: directory, certificate, privateKey, roots, federated)',
      ),
    );
    expect(() => read('dev', {}, { identity: { istio: { address: 'istiod' } } })).toThrow(
      'createMesh: identity.istio.address: "istiod"',
    );
    expect(read('dev', {}, { identity: { spiffe: { hint: 'a' } } }).identity).toEqual({ spiffe: { hint: 'a' } });
  });
});
