import { METHODS } from 'node:http';
import { isDeepStrictEqual } from 'node:util';
import type { ReadWorld } from '../reference/linear.js';
import { rulesFor, type RequestAuthentication } from '../reference/request-authentication.js';
import type { Document } from '../reference/world.js';
import type { Comparable } from './fuzz-check.js';
import type { FuzzCase } from './fuzz-world.js';

/** A case on which the door and the reference part. `code` is that of the door's refusal. */
export interface Parted {
  readonly one: FuzzCase;
  readonly reference: ReadWorld;
  readonly ours: Comparable;
  readonly theirs: Comparable;
  readonly code: string | undefined;
  /** The body of the reference's answer, which an answer to HEAD has not. */
  readonly said: string | undefined;
  /** The reference with the caution of docs/deviations.md. */
  cautious(): Comparable;
}

const valuesOf = ({ one }: Parted, name: string): string[] =>
  one.request.headers.filter(([other]) => other.toLowerCase() === name).map(([, value]) => value);

const pathOf = (target: string): string => target.replace(/^https?:\/\/[^/?#]*/i, '').replace(/[?#].*$/s, '');

/** A host as RFC 3986 has it, or a bracketed address, with a port. */
const isHost = (host: string): boolean => /^([\w.~!$&'()*+,;=@%-]*|\[[\da-f:.]+\])(:\d*)?$/i.test(host.trim());

const dotsWithParameter = /(^|[/\\])(%2e|\.%2e|%2e\.|%2e%2e);/i;
const encodedSlash = /%2f|%5c/i;

/** Whether dot segments hide behind an encoded slash. */
function hidesDots(path: string): boolean {
  return path.split(/[/\\]/).some((segment) => {
    const plain = segment.replace(/%2f|%5c/gi, '/').replace(/%2e/gi, '.');
    return encodedSlash.test(segment) && plain.split('/').some((part) => /^\.\.?(;|$)/.test(part));
  });
}

/** Where the door refuses what a sidecar does not, each by the request alone. The names are those of docs/deviations.md. */
const refusals: readonly (readonly [reason: string, code: RegExp, holds: (parted: Parted) => boolean])[] = [
  [
    'two lines of Host or Authorization',
    /HEADERS$/,
    (p) => valuesOf(p, 'host').length > 1 || valuesOf(p, 'authorization').length > 1,
  ],
  [
    'a Host that is none',
    /HEADERS$|TARGET$/,
    (p) => [...valuesOf(p, 'host'), /^https?:\/\/([^/?#]*)/i.exec(p.one.request.target)?.[1] ?? ''].some((host) => !isHost(host)),
  ],
  [
    'an absolute target without a host, or with userinfo',
    /TARGET$/,
    (p) => /^https?:\/\/([^/?#]*@|[/?#]|$)/i.test(p.one.request.target),
  ],
  ['Connection names a protected header', /HEADERS$/, (p) => valuesOf(p, 'connection').join().length > 0],
  ['the target * of another method', /TARGET$/, ({ one }) => one.request.target === '*' && one.request.method !== 'OPTIONS'],
  ['a target of no form', /TARGET$/, ({ one }) => !/^(\/|\*$|https?:\/\/)/i.test(one.request.target)],
  ['encoded dots with a parameter', /TARGET$/, ({ one }) => dotsWithParameter.test(pathOf(one.request.target))],
  ['%00 in mode NONE', /TARGET$/, ({ one }) => pathOf(one.request.target).includes('%00')],
  ['dots behind an encoded slash', /TARGET$/, ({ one }) => hidesDots(pathOf(one.request.target))],
  ['CONNECT', /CONNECT$/, ({ one }) => one.request.method === 'CONNECT'],
  ['a hundred lines', /TOO_MANY_HEADERS$/, ({ one }) => one.request.headers.length >= 100],
  [
    'a list of foreign ALPN names only',
    /ALPN_REFUSED$/,
    ({ one }) => !/,http\/1\.1,|,istio/.test(`,${(one.connection.alpn ?? []).join()},`),
  ],
  ['a peer that is no SPIFFE ID of a workload', /SPIFFE_ID_INVALID$/, ({ one }) => !isWorkload(one.connection.peer ?? '')],
  ["what Node's parser refuses", /TARGET$/, ({ one }) => !isParsed(one)],
];

const isWorkload = (uri: string): boolean =>
  /^spiffe:\/\/[a-z0-9._-]{1,255}(\/[a-zA-Z0-9._-]+)+$/.test(uri) && !/\/\.\.?(\/|$)/.test(uri);

function isParsed({ request }: FuzzCase): boolean {
  const lengths = request.headers.filter(([name]) => name.toLowerCase() === 'content-length');
  return (
    METHODS.includes(request.method) &&
    /^[^\x00-\x20\x7f]+$/.test(request.target) &&
    request.headers.some(([name]) => name.toLowerCase() === 'host') &&
    request.headers.every(([name, value]) => /^[\w!#$%&'*+.^`|~-]+$/.test(name) && /^[^\x00-\x08\x0a-\x1f\x7f]*$/.test(value)) &&
    lengths.length < 2 &&
    !(lengths.length > 0 && request.headers.some(([name]) => name.toLowerCase() === 'transfer-encoding')) &&
    lengths.every(([, value]) => /^\d+$/.test(value))
  );
}

/** Texts of a request that could be tokens, as strict readers refuse them. */
function hasOddToken({ one }: Parted): boolean {
  const all = [...one.request.headers.map(([, value]) => value), one.request.target].join('\n');
  const tokens = all.match(/[\w-]*\.[\w-]*\.[\w-]*[^\n&;]*/g) ?? [];
  return /= +[\w-]+\./.test(all) || tokens.some((token) => !isStrict(token));
}

function isStrict(token: string): boolean {
  const parts = token.split('.');
  if (parts.length !== 3 || !parts.every((part) => Buffer.from(part, 'base64url').toString('base64url') === part)) return false;
  try {
    const [header, payload] = parts
      .slice(0, 2)
      .map((part) => JSON.parse(Buffer.from(part, 'base64url').toString('utf8')) as object);
    return (
      JSON.stringify(header).length > 0 && payload !== null && !/"(crit|b64|jku|x5u|jwk|zip|enc)":/.test(JSON.stringify(header))
    );
  } catch {
    return false;
  }
}

function hasEd25519({ reference: { documents, workload, mesh } }: Parted): boolean {
  const rules = rulesFor(documents as readonly Document<RequestAuthentication>[], workload, mesh);
  return rules.some(({ jwks }) => jwks?.includes('Ed25519') === true);
}

/** With several rules, what one evaluation took away is not there for the next in Istio. */
function hasSeveralRules({ reference: { documents, workload, mesh } }: Parted): boolean {
  return rulesFor(documents as readonly Document<RequestAuthentication>[], workload, mesh).length > 1;
}

/** Without lines that some frameworks take for those of an output header. */
function withoutForgeries(verdict: Comparable, { reference: { documents, workload, mesh } }: Parted): Comparable {
  const rules = rulesFor(documents as readonly Document<RequestAuthentication>[], workload, mesh);
  const outputs = rules.flatMap((rule) => [
    rule.outputPayloadToHeader ?? '',
    ...(rule.outputClaimToHeaders ?? []).map(({ header }) => header),
  ]);
  const folded = outputs.map((name) => name.toLowerCase().replaceAll('_', '-'));
  const kept = Object.entries(verdict.headers ?? {}).filter(
    ([name]) => !name.includes('_') || !folded.includes(name.replaceAll('_', '-')),
  );
  return { ...verdict, headers: verdict.headers && Object.fromEntries(kept) };
}

/** With the escapes of the query decoded, however they were written. */
function plainQuery(verdict: Comparable): Comparable {
  const bytes = (text: string): string => Buffer.from(text, 'utf8').toString('latin1');
  const decode = (text: string): string =>
    bytes(text).replace(/%([\da-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  const [path = '', ...query] = (verdict.path ?? '').split('?');
  return { ...verdict, path: `${path}?${decode(query.join('?'))}` };
}

/** Why the door may differ from the reference in this case; undefined when it may not. It never may where it is the one that lets pass. */
export function excuseOf(parted: Parted): string | undefined {
  const { ours, theirs, said, code = '' } = parted;
  // The one accident of Envoy's that refuses a token which a key of the set verifies; not to be imitated (istio-semantics 2.5).
  const isEnded = said?.includes('ED25519') ?? false;
  if (isEnded || (hasEd25519(parted) && isDeepStrictEqual(plainQuery(ours), plainQuery(parted.cautious()))))
    return 'an Ed25519 key that ends the rule';
  if (ours.outcome === 'allowed' && theirs.outcome !== 'allowed') return undefined;
  const refusal = refusals.find(([, codes, holds]) => codes.test(code) && holds(parted));
  if (refusal !== undefined) return refusal[0];
  if (code.startsWith('ENMESH_JWT_')) {
    if (theirs.outcome === 'denied' && code.endsWith('MALFORMED')) return 'a token that is not written strictly';
    if (hasOddToken(parted)) return 'a token that is not written strictly';
    if (hasSeveralRules(parted)) return 'several rules have no effect on each other, or caution';
    return undefined;
  }
  if (isDeepStrictEqual(ours, withoutForgeries(theirs, parted))) return 'forged headers in another spelling';
  if (isDeepStrictEqual(plainQuery(ours), plainQuery(theirs))) return 'delimiters in a query that was written anew stay escaped';
  if (!isDeepStrictEqual(plainQuery(ours), plainQuery(parted.cautious()))) return undefined;
  return hasSeveralRules(parted) ? 'several rules have no effect on each other, or caution' : 'caution where a match refuses';
}
