import type { CheckRequest, GrpcAuthorizerOptions } from '@enmesh/core/custom';

type Peer = CheckRequest['source'];

/** node:http reads header bytes one by one; a message holds text, which by custom is UTF-8. */
const asText = (value: string): string => (/^[\x20-\x7e]*$/.test(value) ? value : Buffer.from(value, 'latin1').toString('utf8'));

/** A request as envoy.service.auth.v3.CheckRequest, with pseudo-headers among the headers as Envoy sends them. */
export function checkMessageOf(request: CheckRequest, provider: GrpcAuthorizerOptions['provider']): object {
  const headers: Record<string, string> = {
    ':authority': asText(request.host),
    ':method': request.method,
    ':path': request.path,
    ':scheme': request.scheme,
  };
  for (const [name, value] of request.headers) headers[name] = asText(value);
  if (request.body !== undefined) headers['x-envoy-auth-partial-body'] = String(request.isPartial);
  return {
    attributes: {
      source: peerOf(request.source),
      destination: peerOf(request.destination),
      request: {
        time: { seconds: Math.floor(request.time / 1000), nanos: Math.floor(request.time % 1000) * 1_000_000 },
        http: {
          id: request.id,
          method: request.method,
          headers,
          path: request.path,
          host: asText(request.host),
          scheme: request.scheme,
          size: request.size,
          protocol: request.protocol,
          ...bodyOf(request.body, provider.body?.packAsBytes === true),
        },
      },
      ...(request.sni !== '' && { tls_session: { sni: request.sni } }),
    },
  };
}

/** Envoy's own validation refuses an address that is empty, so one that is not known is left out. */
function peerOf({ address, port, principal }: Peer): object {
  return {
    ...(address !== '' && { address: { socket_address: { address, port_value: port } } }),
    ...(principal !== undefined && { principal }),
  };
}

function bodyOf(body: Buffer | undefined, asBytes: boolean): object {
  if (body === undefined) return {};
  return asBytes ? { raw_body: body } : { body: body.toString('utf8') };
}
