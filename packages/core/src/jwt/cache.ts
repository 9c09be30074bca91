import { LRUCache } from 'lru-cache';
import type { JwtAccepted, JwtRefusal } from './outcome.js';
import type { KeySet } from './remote-key-set.js';
import type { JwtRuleSet } from './rules.js';
import type { Token } from './token.js';

/** What one rule made of one token, as long as `keySet` stays in `generation`. Times are not in it: they are compared at every use. */
export interface RuleVerdict {
  readonly keySet: KeySet;
  readonly generation: number;
  /** The signature's fault; undefined when a key verifies it. */
  readonly refusal: JwtRefusal | undefined;
  /** The finished outcome, made when first needed, and the index of the rule's location that it is for: nearly all tokens come by one. */
  accepted: JwtAccepted | undefined;
  location: number;
}

/** A parsed token and what the rules of one rule set, by index, made of it. */
export interface TokenEntry {
  readonly text: string;
  /** Where the cache has it. */
  readonly key: number;
  readonly rules: JwtRuleSet;
  readonly token: Token;
  readonly verdicts: (RuleVerdict | undefined)[];
}

/** The last token of one connection: comparing two equal strings costs a tenth of hashing one. */
export interface TokenMemo {
  text: string;
  entry: TokenEntry | undefined;
  /** The last header line that was accepted by itself, with all that has to hold for it to be accepted again. */
  line: AcceptedLine | undefined;
}

/** A header line that alone decided the outcome of a request. */
export interface AcceptedLine {
  readonly line: string;
  readonly entry: TokenEntry;
  readonly verdict: RuleVerdict;
  readonly outcome: JwtAccepted;
}

/** Makes the memo of a new connection. */
export function createTokenMemo(): TokenMemo {
  return { text: '', entry: undefined, line: undefined };
}

/** Tokens that were judged before, by their raw text; `key` is {@link keyOf} that text. */
export interface TokenCache {
  find(key: number, text: string, rules: JwtRuleSet): TokenEntry | undefined;
  /** Tokens with a good signature have a store of their own, so that a flood of bad ones cannot push them out. */
  keep(entry: TokenEntry, verified: boolean): void;
}

/**
 * What a token is found by, before it is compared: 32 bits of the end of its signature. Hashing all of a text costs ten times as much as comparing it,
 * and two of 10 000 tokens share a number once in eighty times; then the later takes the place of the earlier.
 */
export function keyOf(text: string): number {
  let key = 0;
  for (let at = Math.max(0, text.length - 8); at < text.length; at++) key = (Math.imul(key, 65_599) + text.charCodeAt(at)) | 0;
  return key;
}

const badEntries = 1_000;
const badBytes = 1024 * 1024;

/** Creates the cache, bounded by `entries` and by `bytes` (estimated: text, parsed claims and outputs). */
export function createTokenCache({
  entries = 10_000,
  bytes = 16 * 1024 * 1024,
}: {
  entries?: number;
  bytes?: number;
}): TokenCache {
  // Made at the first token: the stores reserve their room at once, and a service without JWT rules needs none.
  let good: LRUCache<number, TokenEntry> | undefined;
  let bad: LRUCache<number, TokenEntry> | undefined;
  return {
    find(key, text, rules) {
      let entry = good?.get(key);
      if (entry?.text !== text) entry = bad?.get(key);
      return entry?.text === text && entry.rules === rules ? entry : undefined;
    },
    keep(entry, verified) {
      const { key } = entry;
      if (verified) {
        good ??= createStore(entries, bytes);
        good.set(key, entry);
        if (bad?.peek(key) === entry) bad.delete(key);
      } else if (good?.peek(key) !== entry) {
        bad ??= createStore(Math.min(entries, badEntries), Math.min(bytes, badBytes));
        bad.set(key, entry);
      }
    },
  };
}

function createStore(max: number, maxSize: number): LRUCache<number, TokenEntry> {
  return new LRUCache({ max, maxSize, sizeCalculation: ({ text }) => 1024 + 3 * text.length });
}
