import { isIP } from 'node:net';
import { EnmeshError } from '@enmesh/core/issuance';

/** Where a Workload API listens: what gRPC dials, and the words people know it by. */
export interface WorkloadEndpoint {
  /** `unix:///run/spire/agent.sock`, as it was configured. */
  readonly uri: string;
  /** The socket's path; undefined for TCP. */
  readonly path: string | undefined;
  /** A target of grpc-js that needs no resolution of names. */
  readonly target: string;
  /** Who configured it: `SPIFFE_ENDPOINT_SOCKET`, or `identity.spiffe.socket`. */
  readonly from: string;
}

/** What `sun_path` holds on Linux without its final NUL. */
const maxPathBytes = 107;

/**
 * Finds the Workload API's address: the setting, else `SPIFFE_ENDPOINT_SOCKET` (SPIFFE Workload Endpoint section 4).
 * Throws `ENMESH_ISSUANCE_SOCKET_INVALID` with a sentence for what is wrong with it.
 */
export function findEndpoint(options: {
  readonly socket?: string | undefined;
  readonly env?: NodeJS.ProcessEnv | undefined;
}): WorkloadEndpoint {
  if (options.socket !== undefined) return parseEndpoint(options.socket, 'identity.spiffe.socket');
  const text = (options.env ?? process.env)['SPIFFE_ENDPOINT_SOCKET'];
  if (text === undefined || text === '') {
    throw invalid('No SPIFFE Workload API is configured: set SPIFFE_ENDPOINT_SOCKET, or socket of identity.spiffe');
  }
  return parseEndpoint(text, 'SPIFFE_ENDPOINT_SOCKET');
}

/**
 * Reads `unix:///absolute/path` or `tcp://IP:port`; `from` names the setting in messages. Nothing is decoded.
 * Throws `ENMESH_ISSUANCE_SOCKET_INVALID`.
 */
export function parseEndpoint(text: string, from: string): WorkloadEndpoint {
  const refuse = (reason: string): EnmeshError => invalid(`${from} is ${JSON.stringify(text.slice(0, 256))}: ${reason}`);
  if (/[\0-\x20\x7f]/.test(text)) throw refuse('it holds white space or control characters');
  if (text.startsWith('/')) throw refuse(`a path alone is no address; write unix://${text}`);
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(text)?.[1]?.toLowerCase();
  if (scheme === 'npipe') throw refuse('named pipes of Windows are not supported');
  if (scheme !== 'unix' && scheme !== 'tcp') throw refuse('it has to be unix:///absolute/path or tcp://IP:port');
  const rest = text.slice(scheme.length + 1);
  const problem = /[?#]/.test(rest) ? 'it may have neither a query nor a fragment' : undefined;
  if (problem !== undefined) throw refuse(problem);
  return scheme === 'unix' ? unixEndpoint(text, rest, from, refuse) : tcpEndpoint(text, rest, from, refuse);
}

type Refuse = (reason: string) => EnmeshError;

function unixEndpoint(uri: string, rest: string, from: string, refuse: Refuse): WorkloadEndpoint {
  const path = rest.startsWith('//') ? rest.slice(2) : rest;
  if (path === '' || path === '/') throw refuse('the path of the socket is missing');
  if (!path.startsWith('/')) {
    throw refuse(
      rest.startsWith('//')
        ? 'a unix address has no authority; three slashes stand before an absolute path'
        : 'the path of the socket must be absolute: unix:///absolute/path',
    );
  }
  if (path.includes('%')) throw refuse('percent encoding is not decoded; write the path as it is');
  if (Buffer.byteLength(path) > maxPathBytes) throw refuse(`the path of a socket is at most ${maxPathBytes} bytes long`);
  return { uri, path, target: `unix:${path}`, from };
}

function tcpEndpoint(uri: string, rest: string, from: string, refuse: Refuse): WorkloadEndpoint {
  if (!rest.startsWith('//')) throw refuse('two slashes stand before the IP address: tcp://IP:port');
  const authority = rest.slice(2);
  if (authority.includes('@')) throw refuse('it may not have a user');
  if (authority.includes('/')) throw refuse('it may not have a path');
  const [, bracketed, bare, portText] = /^(?:\[([^\]]*)\]|([^:]*)):(\d*)$/.exec(authority) ?? [];
  if (portText === undefined || portText === '') throw refuse('the port is missing: tcp://IP:port');
  const host = bracketed ?? bare ?? '';
  const family = isIP(host);
  if (family === 0) throw refuse('its host must be an IP address, not a name');
  if ((family === 6) !== (bracketed !== undefined)) throw refuse('an IPv6 address stands in brackets, an IPv4 address does not');
  const port = Number(portText);
  if (port < 1 || port > 65535 || String(port) !== portText) throw refuse('its port must be a number from 1 to 65535');
  return { uri, path: undefined, target: `ipv${family}:${authority}`, from };
}

function invalid(message: string): EnmeshError {
  return new EnmeshError('ENMESH_ISSUANCE_SOCKET_INVALID', message);
}
