import { createTokenCache, keyOf, type AcceptedLine, type RuleVerdict, type TokenEntry, type TokenMemo } from './cache.js';
import type { KeySets } from './key-sets.js';
import { namedToken, tokenInLine, type TokenSource } from './locations.js';
import { noToken, refusals, type JwtAccepted, type JwtEffects, type JwtOutcome, type JwtRefusal } from './outcome.js';
import { effectsOf, outputHeaders, requestIdentity } from './outputs.js';
import type { JwtRule, JwtRuleSet } from './rules.js';
import { checkSignature } from './signature.js';
import { maxTokenLength } from './jws.js';
import { readToken, type TokenClaims } from './token.js';

export { createTokenMemo, type TokenMemo } from './cache.js';
export type { TokenSource } from './locations.js';
export type { JwtAccepted, JwtEffects, JwtOutcome, JwtRefusal } from './outcome.js';

/** Verifies the tokens of requests. */
export interface JwtVerifier {
  /**
   * Decides by the rules whether a request may go on to the policies, and as which user (istio-semantics 2.3). Always synchronous, never throws;
   * what cannot be decided is refused. `now` is in ms since the epoch; `memo` belongs to the request's connection.
   */
  verify(rules: JwtRuleSet, source: TokenSource, now: number, memo?: TokenMemo): JwtOutcome;
}

/** What a verifier works with. The cache is bounded by entries (default 10 000) and by estimated bytes (default 16 MiB). */
export interface JwtVerifierOptions {
  readonly keySets: KeySets;
  readonly cacheEntries?: number;
  readonly cacheBytes?: number;
}

/** Creates a verifier with its cache of judged tokens. Entries are checked again at every use: time, key set, rule set. */
export function createJwtVerifier({ keySets, cacheEntries, cacheBytes }: JwtVerifierOptions): JwtVerifier {
  const cache = createTokenCache({
    ...(cacheEntries === undefined ? {} : { entries: cacheEntries }),
    ...(cacheBytes === undefined ? {} : { bytes: cacheBytes }),
  });

  const judge: JudgeToken = (text, request, rule, location) => {
    if (text.length > maxTokenLength) return refusals.tooLong;
    const { now, memo } = request;
    const entry = entryOf(text, request);
    if ('ok' in entry) return entry;
    const early = claimsRefusal(entry.token.claims, rule, now);
    if (early !== undefined) return early;
    const verdict = currentVerdict(entry, rule);
    const unavailable = !(now <= verdict.keySet.freshUntil);
    if (unavailable || verdict.refusal !== undefined) {
      if (unavailable || verdict.refusal?.code === 'ENMESH_JWT_KEY_UNKNOWN') verdict.keySet.missed(entry.token.kid);
      if (unavailable) return entry.token.kid === '' ? refusals.noKeys : refusals.noKeysKid;
      cache.keep(entry, false);
      return verdict.refusal ?? refusals.unchecked;
    }
    if (memo !== undefined && memo.entry !== entry) {
      memo.text = text;
      memo.entry = entry;
      memo.line = undefined;
    }
    if (verdict.accepted !== undefined && verdict.location === location) return verdict.accepted;
    cache.keep(entry, true);
    return accept(entry, rule, location, verdict);
  };

  const entryOf = (text: string, request: TokenRequest): TokenEntry | JwtRefusal => {
    const { rules, memo, parsed } = request;
    // The last token of the connection, then the last of this request: several rules look at the same one.
    if (memo?.text === text && memo.entry?.rules === rules) return memo.entry;
    if (parsed?.text === text && parsed.entry !== undefined) return parsed.entry;
    const key = keyOf(text);
    let entry = cache.find(key, text, rules);
    if (entry === undefined) {
      const token = readToken(text);
      if (!token.ok) return token;
      // Room for one verdict: a list that grows takes room for many.
      entry = { text, key, rules, token, verdicts: [undefined] };
    }
    if (rules.rules.length > 1) request.parsed = { text, entry };
    return entry;
  };

  /** The verdict of a rule on a token's signature, made anew when the keys have changed since. */
  const currentVerdict = (entry: TokenEntry, rule: JwtRule): RuleVerdict => {
    const known = entry.verdicts[rule.index];
    // Keys that were never there may since be those of another set.
    if (known !== undefined && known.generation === known.keySet.generation && known.keySet.freshUntil !== -Infinity)
      return known;
    const keySet = keySets.of(rule);
    const { generation, keys } = keySet;
    const refusal = checkSignature(entry.token, keys) ?? entry.token.objection;
    const verdict = { keySet, generation, refusal, accepted: undefined, location: -1 };
    entry.verdicts[rule.index] = verdict;
    return verdict;
  };

  return {
    verify(rules, source, now, memo) {
      if (rules.rules.length === 0) return noToken;
      try {
        const line = memo === undefined ? undefined : soleLine(rules, source);
        const known = memo?.line;
        if (line !== undefined && known?.line === line && known.entry.rules === rules && stillHolds(known, now))
          return known.outcome;
        const outcome = decide({ rules, source, now, memo, parsed: undefined }, judge);
        if (line !== undefined && outcome.ok && memo?.entry !== undefined) memo.line = acceptedLine(line, memo.entry, outcome);
        return outcome;
      } catch {
        return refusals.unchecked;
      }
    },
  };
}

/** The one line that decides a request by itself: nothing else that the rules read is there. */
function soleLine({ soleHeader }: JwtRuleSet, source: TokenSource): string | undefined {
  if (soleHeader === undefined || source.query !== '') return undefined;
  const lines = source.header(soleHeader);
  return lines?.length === 1 ? lines[0] : undefined;
}

/** What may be said again of an accepted line as long as {@link stillHolds}; undefined when the line held no token. */
function acceptedLine(line: string, entry: TokenEntry, outcome: JwtAccepted): AcceptedLine | undefined {
  const verdict = entry.verdicts[0];
  return verdict === undefined || outcome.user === undefined ? undefined : { line, entry, verdict, outcome };
}

/** Time and keys are looked at on every request, cached or not. Written so that a clock that is no number refuses. */
function stillHolds({ entry, verdict: { keySet, generation } }: AcceptedLine, now: number): boolean {
  const { validFrom, validUntil } = entry.token.claims;
  return now >= validFrom && now < validUntil && generation === keySet.generation && now <= keySet.freshUntil;
}

interface TokenRequest {
  readonly rules: JwtRuleSet;
  readonly source: TokenSource;
  readonly now: number;
  readonly memo: TokenMemo | undefined;
  parsed: Pick<TokenMemo, 'text' | 'entry'> | undefined;
  /** Why the request is refused whatever other rules say: a rule found a good token and a bad one. */
  mixed?: JwtRefusal;
}

type JudgeToken = (text: string, request: TokenRequest, rule: JwtRule, location: number) => JwtOutcome;

/**
 * One rule: it passes what it passes. Several: the first that accepts a token wins; else all must find none.
 * Each rule looks once and without effect on the next, so nothing depends on a token that an earlier rule took away (where Istio's does); a rule that
 * finds a good token and a bad one, the only one to have such effects in Istio, ends it all.
 */
function decide(request: TokenRequest, judge: JudgeToken): JwtOutcome {
  let first: JwtRefusal | undefined;
  let last: JwtRefusal | undefined;
  for (const rule of request.rules.rules) {
    const status = verifyRule(rule, request, judge);
    if (request.mixed !== undefined) return request.mixed;
    if (status === undefined) continue;
    if (status.ok) return status;
    first ??= status;
    if (last === undefined || status !== refusals.issuer) last = status;
  }
  // Envoy's AND comes last among the children and fails with its first failing rule, unless that one only did not know the issuer.
  return first !== undefined && first !== refusals.issuer ? first : (last ?? noToken);
}

/** What a rule makes of all tokens at its places: undefined without any, a refusal when one of them is bad, else accepted. */
function verifyRule(rule: JwtRule, request: TokenRequest, judge: JudgeToken): JwtOutcome | undefined {
  const { source } = request;
  let accepted: JwtAccepted | undefined;
  for (let i = 0; i < rule.locations.length; i++) {
    const location = rule.locations[i];
    if (location === undefined) continue;
    if (location.kind !== 'header') {
      const token = namedToken(source, location.kind, location.octets);
      if (token === undefined) continue;
      const outcome = judge(token, request, rule, i);
      if (!outcome.ok) return refuseAll(outcome, request, accepted);
      accepted = accepted === undefined ? outcome : joined(accepted, outcome);
      continue;
    }
    const lines = source.header(location.name);
    for (let at = (lines?.length ?? 0) - 1; at >= 0; at--) {
      const token = tokenInLine(lines?.[at] ?? '', location.prefix);
      if (token === undefined) continue;
      const outcome = judge(token, request, rule, i);
      if (!outcome.ok) return refuseAll(outcome, request, accepted);
      accepted = accepted === undefined ? outcome : joined(accepted, outcome);
    }
  }
  return accepted;
}

/** Ends a rule with the bad token; and the request, where a good one came before. */
function refuseAll(refusal: JwtRefusal, request: TokenRequest, accepted: JwtAccepted | undefined): JwtRefusal {
  if (accepted !== undefined) request.mixed = refusal;
  return refusal;
}

/** Of several good tokens, the one verified last gives the user; all have their effects. */
function joined(before: JwtAccepted, { ok, user, effects }: JwtAccepted): JwtAccepted {
  const both = <Name extends keyof JwtEffects>(name: Name): JwtEffects[Name][number][] => [
    ...new Set([...(before.effects?.[name] ?? []), ...(effects?.[name] ?? [])] as JwtEffects[Name][number][]),
  ];
  const setHeaders = [...(before.effects?.setHeaders ?? []), ...(effects?.setHeaders ?? [])];
  return { ok, user, effects: { removeHeaders: both('removeHeaders'), removeParams: both('removeParams'), setHeaders } };
}

/** What the claims alone forbid, in Envoy's order: issuer, time, audience. Cheaper than any signature. */
function claimsRefusal(token: TokenClaims, rule: JwtRule, now: number): JwtRefusal | undefined {
  if (rule.issuer !== '' && token.issuer !== rule.issuer) return refusals.issuer;
  // Written so that a clock that is no number refuses.
  if (!(now >= token.validFrom)) return refusals.notYetValid;
  if (!(now < token.validUntil)) return refusals.expired;
  const { audiences } = rule;
  if (audiences === undefined) return undefined;
  for (const audience of token.comparedAudiences) if (audiences.has(audience)) return undefined;
  return refusals.audience;
}

function accept({ token }: TokenEntry, rule: JwtRule, location: number, verdict: RuleVerdict): JwtOutcome {
  const place = rule.locations[location];
  const setHeaders = outputHeaders(token, rule);
  if (place === undefined || setHeaders === undefined) return refusals.output;
  const user = verdict.accepted?.user ?? requestIdentity(token, rule);
  const accepted: JwtAccepted = { ok: true, user, effects: effectsOf(rule, place, setHeaders) };
  verdict.accepted = accepted;
  verdict.location = location;
  return accepted;
}
