import type { RequestAttributes } from '../request/attributes.js';
import type { RequestMatcher } from './conditions.js';
import { decisionOf, dryRunResultOf, type Decision, type DryRunResult } from './decision.js';
import { buildIndex } from './index-build.js';
import { createGuardMaker } from './index-guard.js';
import type { RuleSearch } from './index-search.js';
import type { AuthorizationPolicy, PolicyRule } from './resource.js';
import { compileRule, type RuleContext } from './rule.js';
import { sortInSteps } from './steps.js';
import type { TrustDomainBundle } from './trust-domain.js';

/** What a match of a rule does. CUSTOM is read as cautiously as DENY. */
export interface RuleUse {
  readonly action: 'allow' | 'deny';
  /** Whether a match only notes the request (AUDIT), so that values are read as Istio reads them. */
  readonly isAudit?: boolean;
  /** Whether the rules only rehearse (`istio.io/dry-run`). */
  readonly isDryRun: boolean;
}

/** What all rules of one policy have in common. */
interface RuleOrigin extends RuleUse {
  /** `namespace/name`. */
  readonly policy: string;
  /** Istio's name of its rules, without the number: `ns[<ns>]-policy[<name>]-rule[`. */
  readonly id: string;
  readonly source: AuthorizationPolicy;
  readonly context: RuleContext;
}

/**
 * One rule with all that is reported when it matches. Its matcher and its decision are made when they are first needed, microseconds that
 * most rules of a big set never cost; {@link CompiledRule.prepare} makes the matcher at once where many rules may be tried on one request.
 */
export class CompiledRule {
  /** Its number in its policy. */
  readonly rule: number;
  readonly #origin: RuleOrigin;
  #matcher: RequestMatcher | undefined;
  #decision: Decision | undefined;
  #dryRun: DryRunResult | undefined;

  constructor(origin: RuleOrigin, rule: number) {
    this.rule = rule;
    this.#origin = origin;
    this.#matcher = undefined;
    this.#decision = undefined;
    this.#dryRun = undefined;
  }

  /** `namespace/name` of its policy. */
  get policy(): string {
    return this.#origin.policy;
  }

  /** Istio's name of the rule, `ns[<ns>]-policy[<name>]-rule[<i>]`, by which rules are ordered. */
  get id(): string {
    return `${this.#origin.id}${this.rule}]`;
  }

  matches(request: RequestAttributes): boolean {
    return (this.#matcher ?? this.prepare())(request);
  }

  prepare(): RequestMatcher {
    const { source, context } = this.#origin;
    return (this.#matcher ??= compileRule(source.spec.rules?.[this.rule] as PolicyRule, context));
  }

  /** The decision when the rule decides; that of DENY for rules of AUDIT, whose match only counts. */
  get decision(): Decision {
    return (this.#decision ??= decisionOf(this.#origin.action, this));
  }

  /** The result when the rule belongs to a dry-run policy; undefined for all others. */
  get dryRun(): DryRunResult | undefined {
    if (!this.#origin.isDryRun) return undefined;
    return (this.#dryRun ??= dryRunResultOf(this.#origin.action, { policy: this.policy, rule: this.rule }));
  }
}

/** The rules of one kind by Istio's order of their ids, and the index by which they are found: undefined where walking them is as quick. */
export interface IndexedRules {
  readonly rules: readonly CompiledRule[];
  readonly index: RuleSearch | undefined;
}

/** Policies and rules after which compiling may pause. */
const perStep = 16;

/** So many values in one rule are compiled at once, so that no request waits for them. */
const manyValues = 64;

/**
 * Puts the rules of policies in Istio's order and indexes them: the rule that Istio would report is the first that matches. Matchers that a request may have
 * to try one after the other are compiled here, the others when a request first comes near them.
 */
export function* compileRuleList(
  policies: readonly AuthorizationPolicy[],
  use: RuleUse,
  bundle: TrustDomainBundle,
): Generator<void, IndexedRules> {
  const refuses = use.action === 'deny';
  const { isAudit = false } = use;
  const guards = createGuardMaker(refuses);
  const rules: CompiledRule[] = [];
  const origins = policies.map((source): RuleOrigin => {
    const { namespace, name } = source.meta;
    const policy = `${namespace}/${name}`;
    return {
      ...use,
      policy,
      id: `ns[${namespace}]-policy[${name}]-rule[`,
      source,
      context: { namespace, bundle, refuses, isAudit },
    };
  });
  for (const origin of yield* sortInSteps(origins, ({ id }) => id)) {
    const written = origin.source.spec.rules ?? [];
    for (const number of inOrderOfText(written.length)) {
      if (rules.length % perStep === 0) yield;
      const rule = new CompiledRule(origin, number);
      if (guards.add(written[number] as PolicyRule, origin.context) > manyValues) rule.prepare();
      rules.push(rule);
    }
  }
  const { search, walked } = yield* buildIndex(guards);
  for (let at = 0; at < walked.length; at += 1) {
    if (at % perStep === 0) yield;
    rules[walked[at] as number]?.prepare();
  }
  return { rules, index: search };
}

/** The position of the first rule that matches, or -1. */
export function firstMatch(rules: readonly CompiledRule[], index: RuleSearch | undefined, request: RequestAttributes): number {
  if (index !== undefined) {
    const found = index.search(rules, request, rules.length);
    return found === rules.length ? -1 : found;
  }
  for (let position = 0; position < rules.length; position += 1) if (rules[position]?.matches(request) === true) return position;
  return -1;
}

/** All rules that match, by position. What an index does not find is not even compiled. */
export function allMatches(
  rules: readonly CompiledRule[],
  index: RuleSearch | undefined,
  request: RequestAttributes,
): readonly CompiledRule[] {
  if (index === undefined) return rules.filter((rule) => rule.matches(request));
  const found = new Set<number>();
  const noting = rules.map((rule, position) => ({
    matches: (): boolean => {
      // Never content, so that the search goes on.
      if (rule.matches(request)) found.add(position);
      return false;
    },
  }));
  index.search(noting, request, rules.length);
  return [...found].sort((a, b) => a - b).map((position) => rules[position] as CompiledRule);
}

/** The numbers below `count` in the order of their texts with a bracket behind them, as in rule ids: `10]` stands before `1]`. */
function inOrderOfText(count: number): readonly number[] {
  const numbers: number[] = [];
  const add = (number: number): void => {
    if (number >= count) return;
    if (number > 0) for (let digit = 0; digit < 10; digit += 1) add(number * 10 + digit);
    numbers.push(number);
  };
  for (let first = 0; first < 10; first += 1) add(first);
  return numbers;
}
