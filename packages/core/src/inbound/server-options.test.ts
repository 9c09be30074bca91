import { describe, expect, it } from 'vitest';
import { requireMesh } from './listen.js';
import { checkServerOptions } from './server-options.js';

describe('the options of a server', () => {
  it.each([{}, { workloadPort: 8080, probePort: 0, rejudgeOpen: false, http: {}, router: undefined }, { sniffTimeoutMs: 1 }])(
    'may be %j',
    (options) => expect(() => checkServerOptions(options)).not.toThrow(),
  );

  it.each<[unknown, string]>([
    [{ workloadport: 8080 }, 'createServer: there is no option "workloadport" (did you mean "workloadPort"?)'],
    [{ key: 'x' }, 'createServer: there is no option "key" (there are workloadPort, '],
    [{ workloadPort: '8080' }, 'createServer: workloadPort must be a port, from 1 to 65535'],
    [{ workloadPort: 0 }, 'createServer: workloadPort must be a port, from 1 to 65535'],
    [{ probePort: 65_536 }, 'createServer: probePort must be a port, from 0 to 65535'],
    [{ handshakeTimeoutMs: 0 }, 'createServer: handshakeTimeoutMs must be a positive number of milliseconds'],
    [{ rejudgeOpen: 'no' }, 'createServer: rejudgeOpen must be true or false'],
    [8080, 'createServer: the options must be an object'],
  ])('may not be %j', (options, message) => {
    expect(() => checkServerOptions(options)).toThrow(TypeError);
    expect(() => checkServerOptions(options)).toThrow(message);
  });
});

describe('what stands in the place of a mesh', () => {
  it('is told to be awaited when it is a promise, and what a mesh is when it is anything else', () => {
    expect(() => requireMesh(Promise.resolve(), 'listen')).toThrow(
      'listen: the mesh is a promise; write `await createMesh(...)` and pass what it gives',
    );
    expect(() => requireMesh(() => {}, 'listen')).toThrow('listen: the first argument is no mesh; pass what createMesh() gives');
    expect(() => requireMesh(undefined, 'enmesh')).toThrow(TypeError);
    expect(() => requireMesh({ createServer: () => {} }, 'enmesh')).not.toThrow();
  });
});
