/** Where a text passes a number of rules. */
export interface TooManyRules {
  /** In characters. */
  readonly offset: number;
}

/**
 * A key of a rule in YAML or JSON, or a rule without any; comments, and JSON that is indented (kubectl's `last-applied-configuration` says every rule
 * once more), are passed over as a whole.
 */
const token =
  /^[ \t]*#.*$|^[ \t]+\{".*$|(?<![\w.$-])"?(?<key>from|to|when|issuer)"?[ \t]*:(?=[\s"'[{])|(?<=[[,-] ?)(?<empty>\{\})/gm;

/**
 * Counts the rules of texts without parsing them, so that a set with far too many is refused before it costs time and memory. A rule holds `from`, `to`
 * and `when` at most once each, so the most frequent of them is a lower bound; `issuer` stands in rules of RequestAuthentication. Only where other things
 * have keys of these names can it count too many.
 */
export function createRuleEstimate(limit: number): { add(text: string): TooManyRules | undefined } {
  const counts = { from: 0, to: 0, when: 0, issuer: 0, empty: 0 };
  return {
    add(text) {
      for (const { groups, index } of text.matchAll(token)) {
        const key = (groups?.['key'] ?? (groups?.['empty'] && 'empty')) as keyof typeof counts | undefined;
        if (key === undefined) continue;
        counts[key] += 1;
        if (Math.max(counts.from, counts.to, counts.when) + counts.issuer + counts.empty > limit) return { offset: index };
      }
      return undefined;
    },
  };
}
