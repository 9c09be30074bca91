import type { IncomingMessage } from 'node:http';
import { outputHeaders } from '../jwt/outputs.js';
import { bringsToken } from '../jwt/locations.js';
import type { JwtEffects } from '../jwt/outcome.js';
import type { JwtRuleSet } from '../jwt/rules.js';
import { hopHeader } from '../propagation/hop-token.js';
import { verifyHopToken, type HopRefusal, type HopUser } from '../propagation/hop-verify.js';
import { canonicalName } from '../propagation/strip.js';
import { peerKeyOf } from '../tls/peer.js';
import type { DoorAttributes } from './door-attributes.js';
import { sentHeaders } from './door-request.js';
import type { InboundOptions, Plan } from './plan.js';

/**
 * The user that the peer of this connection speaks for, by a hop token (docs/propagation.md); undefined where the request brings none or none is read
 * here. The header itself is removed either way: it stands in the strip table.
 */
export function hop(
  request: IncomingMessage,
  attributes: DoorAttributes,
  plan: Plan,
  now: number,
  options: InboundOptions,
): HopUser | HopRefusal | undefined {
  const { propagation, jwt } = plan.snapshot;
  // Where there is one, the scan has marked it for removal: nearly every other request is told by this alone.
  if (attributes.scan.removed === undefined || !propagation.acceptsHop) return undefined;
  const lines = hopLines(sentHeaders(request));
  const text = lines.at(0);
  if (text === undefined) return undefined;
  if (lines.length > 1) return refuse('ENMESH_PROPAGATION_HOP_TWICE', 'the request brings more than one hop token');
  const { peer } = attributes;
  const key = peer && peerKeyOf(peer);
  if (peer === undefined || key === undefined)
    return refuse('ENMESH_PROPAGATION_HOP_UNBOUND', 'a hop token came without a certificate that it could be bound to');
  if (bringsToken(jwt, attributes))
    return refuse('ENMESH_PROPAGATION_HOP_BESIDE_TOKEN', 'the request brings a token of the user beside a hop token');
  return verifyHopToken(text, { peer, key, ownUri: options.svid.current().id.uri, plan: propagation, now });
}

const refuse = (code: HopRefusal['code'], reason: string): HopRefusal => ({ ok: false, code, reason });

/** The lines of the header in every spelling: a reader that folds them would see them all. */
function hopLines(raw: readonly string[]): readonly string[] {
  const lines: string[] = [];
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i] as string;
    if (name.length === hopHeader.length && canonicalName(name) === hopHeader) lines.push(raw[i + 1] as string);
  }
  return lines;
}

const effectsByUser = new WeakMap<HopUser, { readonly rules: JwtRuleSet; readonly effects: JwtEffects | undefined }>();

/** What the handler gets beside the user: the output headers of the rule for the user's issuer, made of the claims that travelled. */
export function hopEffects(hopUser: HopUser, rules: JwtRuleSet): JwtEffects | undefined {
  const known = effectsByUser.get(hopUser);
  if (known?.rules === rules) return known.effects;
  const { issuer, claims, payload } = hopUser.user;
  const rule = rules.rules.find((one) => one.issuer === issuer);
  const lines = rule && outputHeaders({ claims: { payload: claims }, payloadSegment: payload }, rule);
  const effects =
    lines === undefined || lines.length === 0 ? undefined : { removeHeaders: [], removeParams: [], setHeaders: lines };
  effectsByUser.set(hopUser, { rules, effects });
  return effects;
}
