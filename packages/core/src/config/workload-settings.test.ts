import { describe, expect, it } from 'vitest';
import { workloadOf } from './workload-settings.js';

const file = { namespace: 'shop', serviceAccount: 'product', labels: { app: 'product' } };

describe('who a workload is', () => {
  it('is what the file says where nothing else speaks, and empty variables say nothing', () => {
    expect(workloadOf({}, { POD_NAMESPACE: '', SERVICE_ACCOUNT: '', ENMESH_LABELS: '' }, file)).toEqual(file);
    expect(workloadOf({}, {}, { namespace: 'shop' })).toEqual({ namespace: 'shop', serviceAccount: 'default', labels: {} });
  });

  it('is what the environment says before the file, and code before both', () => {
    const env = { POD_NAMESPACE: 'other', SERVICE_ACCOUNT: 'of.env', ENMESH_LABELS: 'app=x, version=v1' };
    expect(workloadOf({}, env, file)).toEqual({
      namespace: 'other',
      serviceAccount: 'of.env',
      labels: { app: 'x', version: 'v1' },
    });
    const code = { namespace: 'third', serviceAccount: 'of-code', labels: {} };
    expect(workloadOf(code, env, file)).toEqual(code);
  });

  it.each([
    [{ POD_NAMESPACE: 'Foo_Bar' }, 'POD_NAMESPACE: "Foo_Bar" is no namespace (lower-case letters, digits and "-")'],
    [{ POD_NAMESPACE: 'a.b' }, 'POD_NAMESPACE: "a.b" is no namespace (lower-case letters, digits and "-")'],
    [{ SERVICE_ACCOUNT: 'a/b' }, 'SERVICE_ACCOUNT: "a/b" is no service account (lower-case letters, digits, "-" and ".")'],
  ])('is refused by the environment %j, which no document could name', (env, message) => {
    expect(() => workloadOf({}, env, file)).toThrow(expect.objectContaining({ code: 'ENMESH_CONFIG_WORKLOAD_INVALID', message }));
  });

  it('is refused in code as a mistake of the program', () => {
    expect(() => workloadOf({ namespace: 'Foo_Bar' }, {}, file)).toThrow(TypeError);
    expect(() => workloadOf({ serviceAccount: 'a/b' }, {}, file)).toThrow(/serviceAccount "a\/b" is no service account/);
  });

  it('must have a namespace', () => {
    const missing = expect.objectContaining({ code: 'ENMESH_CONFIG_NAMESPACE_MISSING' });
    expect(() => workloadOf({ namespace: '' }, {}, file)).toThrow(missing);
    expect(() => workloadOf({}, {}, {})).toThrow(missing);
  });

  it('has labels as kubectl writes them', () => {
    const invalid = expect.objectContaining({ code: 'ENMESH_CONFIG_LABELS_INVALID' });
    expect(() => workloadOf({}, { ENMESH_LABELS: 'app' }, file)).toThrow(invalid);
    expect(() => workloadOf({}, { ENMESH_LABELS: '=x' }, file)).toThrow(invalid);
  });
});
