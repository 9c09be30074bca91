import type { MeshSnapshot } from '../config/snapshot.js';
import type { CustomAuthorizer } from '../custom/contract.js';
import type { SvidSource } from '../identity/source.js';
import type { ExtensionProvider } from '../policy/provider.js';
import type { JwtEffects, JwtVerifier } from '../jwt/verify.js';
import { trimBlanks } from '../request/header-lines.js';
import { compileStrip, type StripTable } from '../propagation/strip.js';
import type { HeaderEdits } from './door-request.js';
import { compileHeaderScan } from './header-scan.js';

/** What the inbound story needs of the mesh. */
export interface InboundOptions {
  readonly snapshot: () => MeshSnapshot;
  readonly svid: SvidSource;
  readonly verifier: JwtVerifier;
  readonly clock: () => number;
  /** Also write x-forwarded-client-cert, x-forwarded-proto and x-request-id into the request. */
  readonly istioHeaders: boolean;
  /** From this many header lines on a request is refused with 431, because Node would cut the rest silently. */
  readonly maxHeaderCount: number;
  /** The external authorizer of a provider. Absent where none can be asked: their checks fail. */
  readonly authorizerOf?: ((provider: ExtensionProvider) => CustomAuthorizer) | undefined;
}

/** What the door compiles once per snapshot. */
export interface Plan {
  readonly snapshot: MeshSnapshot;
  readonly strip: StripTable;
  readonly scan: ReturnType<typeof compileHeaderScan>;
  /** The edits of a token's effects where nothing else is to be edited: made once per token, not per request. */
  readonly editsOf: (effects: JwtEffects | undefined) => HeaderEdits;
}

/** A claim may begin or end with blanks, which no header line brings to its reader. */
const asCarried = ([name, value]: readonly [string, string]): readonly [string, string] => [name, trimBlanks(value)];

/** Compiles a snapshot for the door. */
export function compilePlan(snapshot: MeshSnapshot): Plan {
  const strip = compileStrip(snapshot.jwt.outputHeaders);
  const none: HeaderEdits = { removed: [], joined: undefined, added: [], strip };
  const known = new WeakMap<JwtEffects, HeaderEdits>();
  return {
    snapshot,
    strip,
    scan: compileHeaderScan(strip),
    editsOf(effects) {
      if (effects === undefined) return none;
      let edits = known.get(effects);
      if (edits === undefined) {
        edits = { removed: effects.removeHeaders, joined: undefined, added: effects.setHeaders.map(asCarried), strip };
        known.set(effects, edits);
      }
      return edits;
    },
  };
}
