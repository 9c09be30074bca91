import type { IncomingMessage } from 'node:http';
import { isOfTheHop, type CheckRequest } from '../custom/contract.js';
import { declaredSize, type BufferedBody } from './check-body.js';
import type { DoorAttributes } from './door-attributes.js';
import { sentHeaders } from './door-request.js';

/** Headers that this hop writes: policies know them although the client may not have sent them. */
const computed = ['x-forwarded-client-cert', 'x-forwarded-proto', 'x-request-id'];

/** What an external authorizer is told of a request. */
export function checkRequestOf(
  request: IncomingMessage,
  attributes: DoorAttributes,
  body: (BufferedBody & object) | undefined,
  time: number,
): CheckRequest {
  const { peer, connection } = attributes;
  return {
    id: attributes.requestId,
    method: attributes.method,
    path: attributes.path + attributes.rawQuery,
    host: attributes.header('host')?.[0] ?? '',
    scheme: attributes.forwardedProto === 'https' ? 'https' : 'http',
    protocol: `HTTP/${request.httpVersion}`,
    time,
    headers: headersOf(request, attributes),
    size: declaredSize(request),
    body: body?.body,
    isPartial: body?.isPartial ?? false,
    source: { address: attributes.sourceIp, port: connection.sourcePort, principal: peer?.uri },
    destination: { address: attributes.destinationIp, port: attributes.destinationPort, principal: attributes.ownUri },
    sni: attributes.sni,
  };
}

function headersOf(request: IncomingMessage, attributes: DoorAttributes): Map<string, string> {
  const headers = new Map<string, string>();
  const raw = sentHeaders(request);
  const names = new Set([...raw.filter((_line, index) => index % 2 === 0).map((name) => name.toLowerCase()), ...computed]);
  for (const name of names) {
    const lines = isOfTheHop(name) ? undefined : attributes.header(name);
    if (lines !== undefined) headers.set(name, lines.join(name === 'cookie' ? '; ' : ','));
  }
  return headers;
}
