import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { readSettings, type MeshOptions, type Settings } from './settings.js';

const folder = mkdtempSync(join(tmpdir(), 'enmesh-access-log-'));
afterAll(() => rmSync(folder, { recursive: true }));

const file = join(folder, 'enmesh.yaml');
const read = (yaml = '', env: NodeJS.ProcessEnv = {}, options: MeshOptions = {}): Settings => {
  writeFileSync(file, `namespace: shop\nconfig: mesh\n${yaml}`);
  return readSettings({ file, env, ...options });
};
const usual = { format: 'json', filter: 'all', calls: true };
const byFile = { file: join(folder, 'a.log') };

describe('the access log', () => {
  it.each<[string, NodeJS.ProcessEnv, MeshOptions, unknown]>([
    ['', {}, {}, undefined],
    ['accessLog: stdout', {}, {}, { to: 'stdout', ...usual }],
    ['accessLog: off', {}, {}, undefined],
    ['accessLog: {}', {}, {}, { to: 'stdout', ...usual }],
    ['accessLog: {file: a.log, filter: refused}', {}, {}, { to: byFile, ...usual, filter: 'refused' }],
    ['accessLog: {to: stderr, format: istio, calls: false}', {}, {}, { to: 'stderr', ...usual, format: 'istio', calls: false }],
    [
      'accessLog: {file: a.log, filter: refused}',
      { ENMESH_ACCESS_LOG: 'stdout' },
      {},
      { to: 'stdout', ...usual, filter: 'refused' },
    ],
    ['accessLog: stdout', { ENMESH_ACCESS_LOG: './b.log' }, {}, { to: { file: resolve('b.log') }, ...usual }],
    ['accessLog: {file: a.log}', { ENMESH_ACCESS_LOG: 'off' }, {}, undefined],
    ['accessLog: {file: a.log}', { ENMESH_ACCESS_LOG: '' }, {}, { to: byFile, ...usual }],
    ['accessLog: {file: a.log}', { ENMESH_ACCESS_LOG_FORMAT: 'istio-json' }, {}, { to: byFile, ...usual, format: 'istio-json' }],
    ['', { ENMESH_ACCESS_LOG_FORMAT: 'istio' }, {}, undefined],
    ['accessLog: off', { ENMESH_ACCESS_LOG_FORMAT: 'istio' }, {}, undefined],
    ['accessLog: stdout', { ENMESH_ACCESS_LOG: 'stderr' }, { accessLog: 'off' }, undefined],
    ['accessLog: stdout', {}, { accessLog: { file: 'c.log' } }, { to: { file: resolve('c.log') }, ...usual }],
  ])('is, with %s in the file, environment %j and code %j, %j', (yaml, env, options, expected) => {
    expect(read(yaml, env, options).accessLog).toEqual(expected);
  });

  it.each([
    [
      'accessLog: stdot',
      /enmesh\.yaml:3:12 accessLog: "stdot" is no target of an access log.*did you mean "stdout"\?.*\{file: PATH\}/,
    ],
    ['accessLog: /var/log/a.log', /:3:12 accessLog: .*for a file write `accessLog: \{file: PATH\}`/],
    ['accessLog: true', /:3:12 accessLog: must be stdout, stderr, off or a map/],
    ['accessLog: {fromat: istio}', /:3:13 accessLog\.fromat: .*format/],
    ['accessLog: {format: isto}', /:3:21 accessLog\.format: must be one of json, istio, istio-json.*did you mean istio\?/],
    ['accessLog: {to: stdout, file: a}', /accessLog\.file: `to` and `file` are both given/],
    ['auditClaims: groups', /:3:14 auditClaims: must be a list.*put it in \[ \]/],
    ['auditClaims: ["", 3]', /auditClaims\[0\]: must not be empty[^]*auditClaims\[1\]: must be a string/],
  ])('refuses %s, with the place', (yaml, message) => {
    expect(() => read(yaml)).toThrow(message);
  });

  it('refuses a word of the environment that is none, rather than making a file of it', () => {
    const codeOf = (env: NodeJS.ProcessEnv): unknown => {
      try {
        return read('', env);
      } catch (error) {
        return (error as { code?: string }).code;
      }
    };
    expect(codeOf({ ENMESH_ACCESS_LOG: 'sdtout' })).toBe('ENMESH_CONFIG_ACCESS_LOG');
    expect(codeOf({ ENMESH_ACCESS_LOG: 'stdout', ENMESH_ACCESS_LOG_FORMAT: 'text' })).toBe('ENMESH_CONFIG_ACCESS_LOG');
  });

  it('refuses mistakes in code as those in the file', () => {
    expect(() => read('', {}, { accessLog: 'stdot' as never })).toThrow(TypeError);
    expect(() => read('', {}, { accessLog: { fromat: 'istio' } as never })).toThrow(/createMesh: accessLog\.fromat/);
    expect(() => read('', {}, { auditClaims: 'groups' as never })).toThrow(/createMesh: auditClaims/);
  });
});

describe('claims that may be told', () => {
  it('come from code, else the environment, else the file, each once', () => {
    expect(read().auditClaims).toEqual([]);
    expect(read('auditClaims: [groups, groups]').auditClaims).toEqual(['groups']);
    expect(read('auditClaims: [a]', { ENMESH_AUDIT_CLAIMS: ' b, c,' }).auditClaims).toEqual(['b', 'c']);
    expect(read('auditClaims: [a]', { ENMESH_AUDIT_CLAIMS: 'b' }, { auditClaims: [] }).auditClaims).toEqual([]);
  });
});
