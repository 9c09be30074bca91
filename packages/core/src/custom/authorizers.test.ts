import { describe, expect, it } from 'vitest';
import type { ExtensionProvider, GrpcProvider } from '../policy/provider.js';
import { createAuthorizers } from './authorizers.js';
import { createGrpcPackage, requireGrpc, type ExtAuthzModule } from './grpc-package.js';

const provider = (name: string, port = 1): GrpcProvider => ({
  kind: 'grpc',
  name,
  service: 'authz',
  port,
  timeoutMs: 1,
  failOpen: false,
  statusOnError: 403,
  body: undefined,
});

describe('authorizers', () => {
  it('are one for each provider, kept by a reload that leaves it as it is, and closed by one that does not', () => {
    const made: string[] = [];
    const closed: string[] = [];
    const authorizers = createAuthorizers({
      exchange: () => Promise.reject(new Error('not used')),
      grpc({ name, port }) {
        made.push(`${name}:${port}`);
        return { check: () => Promise.reject(new Error('not used')), close: () => void closed.push(`${name}:${port}`) };
      },
    });
    const first = authorizers.of(provider('a'));
    expect(authorizers.of(provider('a'))).toBe(first);
    authorizers.of(provider('b'));
    authorizers.use([provider('a'), provider('b', 2)]);
    expect(authorizers.of(provider('a'))).toBe(first);
    expect(closed).toEqual(['b:1']);
    authorizers.close();
    expect(closed).toEqual(['b:1', 'a:1']);
    expect(made).toEqual(['a:1', 'b:1']);
    expect(() => authorizers.of(provider('a'))).toThrow(expect.objectContaining({ code: 'ENMESH_MESH_CLOSED' }));
  });
});

describe('the package for gRPC', () => {
  const http = { ...provider('h'), kind: 'http' } as unknown as ExtensionProvider;

  it('is looked for only where a provider asks for it, and then once', () => {
    let loads = 0;
    const module: ExtAuthzModule = { createGrpcAuthorizer: () => ({ check: () => Promise.reject(new Error()), close() {} }) };
    const grpc = createGrpcPackage(() => {
      loads += 1;
      return module;
    });
    requireGrpc([http], grpc);
    expect(loads).toBe(0);
    requireGrpc([http, provider('a'), provider('b')], grpc);
    expect(loads).toBe(1);
    expect(grpc(provider('a'))).toBe(module);
  });

  it('is an error that names provider and package where it is missing', () => {
    const grpc = createGrpcPackage(() => undefined);
    expect(() => requireGrpc([http, provider('opa')], grpc)).toThrow(
      expect.objectContaining({
        code: 'ENMESH_CUSTOM_GRPC_MISSING',
        message: expect.stringMatching(/opa .*envoyExtAuthzGrpc.* npm install @enmesh\/ext-authz/) as string,
      }),
    );
  });
});
