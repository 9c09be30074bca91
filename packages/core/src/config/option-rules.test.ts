import { describe, expect, it } from 'vitest';
import { checkOptions } from './option-rules.js';

describe('the options of createMesh', () => {
  it.each([
    [{ label: { app: 'a' } }, 'createMesh: there is no option "label" (did you mean "labels"?)'],
    [{ nameSpace: 'x' }, 'createMesh: there is no option "nameSpace" (did you mean "namespace"?)'],
    [{ toString: 1 }, 'createMesh: there is no option "toString" (docs/environment.md has them all)'],
    [{ labels: 'app=a' }, 'createMesh: labels must be an object of strings, such as {app: "product"}'],
    [{ labels: { version: 1 } }, 'createMesh: labels must be an object of strings, such as {app: "product"}'],
    [{ labels: ['app'] }, 'createMesh: labels must be an object of strings, such as {app: "product"}'],
    [{ namespace: 5 }, 'createMesh: namespace must be a string'],
    [{ config: { read: () => [] } }, 'createMesh: config must be the path of a directory, or a source with read() and watch()'],
    [{ log: 'no' }, 'createMesh: log must be true or false'],
    ['./mesh', 'createMesh: takes one object of options'],
  ])('are refused where nobody would obey them: %j', (options, message) => {
    expect(() => checkOptions(options)).toThrow(new TypeError(message));
  });

  it('are taken as documented, and undefined is none', () => {
    const config = { read: () => Promise.resolve([]), watch: () => () => undefined };
    checkOptions({});
    checkOptions({ namespace: 'x', labels: { app: 'a' }, config, jwks: {}, log: false, clock: Date.now, env: process.env });
    checkOptions({ labels: undefined, config: './mesh', adminPort: 0, extAuthz: {} });
  });

  it('are told of without their values, which may be secrets', () => {
    expect(() => checkOptions({ namespace: { token: 'hunter2' } })).toThrow(/^createMesh: namespace must be a string$/);
  });
});
