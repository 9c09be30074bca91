import { describe, expect, it } from 'vitest';
import { findEndpoint, parseEndpoint } from './endpoint.js';

const read = (text: string) => parseEndpoint(text, 'SPIFFE_ENDPOINT_SOCKET');

describe('the address of a Workload API', () => {
  it.each([
    ['unix:///run/spire/agent.sock', 'unix:/run/spire/agent.sock', '/run/spire/agent.sock'],
    ['unix:/run/spire/agent.sock', 'unix:/run/spire/agent.sock', '/run/spire/agent.sock'],
    ['UNIX:///run/a b'.replace(' ', '_'), 'unix:/run/a_b', '/run/a_b'],
    ['tcp://127.0.0.1:8081', 'ipv4:127.0.0.1:8081', undefined],
    ['tcp://[::1]:8081', 'ipv6:[::1]:8081', undefined],
  ])('%s is dialled as %s', (text, target, path) => {
    expect(read(text)).toEqual({ uri: text, target, path, from: 'SPIFFE_ENDPOINT_SOCKET' });
  });

  it.each([
    ['/run/spire/agent.sock', 'write unix:///run/spire/agent.sock'],
    ['', 'it has to be unix:'],
    ['agent.sock', 'it has to be unix:'],
    ['http://127.0.0.1:80', 'it has to be unix:'],
    ['npipe:spire-agent', 'named pipes'],
    ['unix://', 'the path of the socket is missing'],
    ['unix:///', 'the path of the socket is missing'],
    ['unix:run/agent.sock', 'must be absolute'],
    ['unix://host/agent.sock', 'three slashes'],
    ['unix:///run/agent.sock?x=1', 'neither a query nor a fragment'],
    ['unix:///run/agent.sock#x', 'neither a query nor a fragment'],
    ['unix:///run/a%20b', 'percent encoding'],
    ['unix:///run/a b', 'white space'],
    [`unix:///${'a'.repeat(107)}`, 'at most 107 bytes'],
    ['tcp:127.0.0.1:80', 'two slashes'],
    ['tcp://localhost:80', 'must be an IP address'],
    ['tcp://127.0.0.1', 'the port is missing'],
    ['tcp://127.0.0.1:', 'the port is missing'],
    ['tcp://127.0.0.1:0', 'from 1 to 65535'],
    ['tcp://127.0.0.1:65536', 'from 1 to 65535'],
    ['tcp://127.0.0.1:080', 'from 1 to 65535'],
    ['tcp://user@127.0.0.1:80', 'may not have a user'],
    ['tcp://127.0.0.1:80/', 'may not have a path'],
    ['tcp://127.0.0.1:80?x', 'neither a query'],
    ['tcp://::1:80', 'the port is missing'],
    ['tcp://[127.0.0.1]:80', 'stands in brackets'],
  ])('%j is refused with a sentence', (text, sentence) => {
    const message = expect.stringContaining(sentence) as unknown;
    expect(() => read(text)).toThrow(expect.objectContaining({ code: 'ENMESH_ISSUANCE_SOCKET_INVALID', message }));
  });

  it('is the setting, else the environment, else missing', () => {
    const env = { SPIFFE_ENDPOINT_SOCKET: 'unix:///env.sock' };
    expect(findEndpoint({ socket: 'unix:///set.sock', env })).toMatchObject({
      path: '/set.sock',
      from: 'identity.spiffe.socket',
    });
    expect(findEndpoint({ env })).toMatchObject({ path: '/env.sock', from: 'SPIFFE_ENDPOINT_SOCKET' });
    expect(() => findEndpoint({ env: {} })).toThrow(/SPIFFE_ENDPOINT_SOCKET/);
  });
});
