import { join } from 'node:path';
import { errorTable, type ErrorCode } from '@enmesh/core';
import type { Evaluation, Explanation } from '@enmesh/core/inbound';
import { formatNearMiss } from '@enmesh/core/inbound';
import { sourceOfRule, type MeshResources, type ResourceMeta, type SourcePosition } from '@enmesh/core/config';
import { paint, printable, type Colour } from '../output.js';
import type { Asked } from './request.js';
import type { Configuration } from './configuration.js';

const colours: Readonly<Record<string, Colour>> = { allowed: 'green', denied: 'red', closed: 'red' };

/** Where a rule of a policy stands, `mesh/policies.yaml:12`; undefined for a policy that is not in the configuration. */
export function sourceOf(
  { policy, rule = 0 }: { readonly policy?: string | undefined; readonly rule?: number | undefined },
  { directory, resources }: Pick<Configuration, 'directory' | 'resources'>,
): string | undefined {
  const found = policy === undefined ? undefined : findPolicy(policy, resources);
  return found && placeOf(sourceOfRule(found, rule), directory);
}

function findPolicy(policy: string, { authorizationPolicies }: MeshResources): ResourceMeta | undefined {
  return authorizationPolicies.find(({ meta }) => `${meta.namespace}/${meta.name}` === policy)?.meta;
}

/** A source position as people read it. */
export function placeOf({ file, line }: SourcePosition, directory: string): string {
  return `${join(directory, file)}:${line}`;
}

/** The verdict as lines for people: what became of the request, by which rule, and why. */
export function formatEvaluation(evaluation: Evaluation, asked: Asked, configuration: Configuration): string {
  const { verdict, refusal, user, decision } = evaluation;
  const { outcome, status, body, upstream, policy, rule } = verdict;
  const answer =
    outcome === 'denied'
      ? ` ${status}${body ? ` ${body}` : ''}`
      : outcome === 'closed'
        ? ' (the connection, without an answer)'
        : '';
  const rows: [string, string | undefined][] = [
    ['request', `${asked.request.method} ${withoutQuery(asked.request.target)} at port ${asked.connection.destinationPort}`],
    ['caller', asked.connection.tls ? (asked.connection.peer ?? 'TLS without a certificate') : 'plaintext'],
    ['user', user === undefined ? undefined : (user.principal ?? 'a token without issuer or subject')],
    ['decided by', policy === undefined ? decidedBy(evaluation) : `${policy} rule ${rule}`],
    ['in', sourceOf({ policy, rule }, configuration)],
    ['why', refusal?.reason],
    ['code', refusal?.code],
    ['remedy', refusal && remedyOf(refusal.code)],
    ['audit', decision && auditOf(decision)],
    ['dry run', decision?.dryRun === undefined ? undefined : JSON.stringify(decision.dryRun)],
    ['handed over', upstream === undefined ? undefined : withoutQuery(upstream.path)],
  ];
  const told = rows.filter((row): row is [string, string] => row[1] !== undefined);
  const lines = told.map(([name, value]) => `  ${paint('dim', name.padEnd(11))} ${printable(value)}\n`);
  return `${paint(colours[outcome] ?? 'red', outcome)}${printable(answer)}\n${lines.join('')}`;
}

/** Nothing is fetched or asked here, which the remedy for a running service cannot know. */
function remedyOf(code: ErrorCode): string {
  if (code === 'ENMESH_CUSTOM_CHECK_FAILED')
    return 'authorizers are not asked here: this is what holds while it cannot be reached (statusOnError, failOpen)';
  if (code === 'ENMESH_JWT_KEYS_UNAVAILABLE')
    return 'keys are not fetched here: give them with --jwks ISSUER=FILE, or name the user with --user';
  return errorTable[code].remedy;
}

function auditOf({ audit, auditedBy }: NonNullable<Evaluation['decision']>): string | undefined {
  if (audit === undefined) return undefined;
  return auditedBy === undefined ? 'no AUDIT rule matches' : `${auditedBy.policy} rule ${auditedBy.rule} matches`;
}

function decidedBy({ verdict, refusal, decision }: Evaluation): string {
  if (verdict.outcome === 'allowed') return 'no ALLOW policy selects this workload';
  if (decision?.reason === 'no-allow-matched') return 'no ALLOW rule, and there are some for this workload';
  return `the step ${refusal?.step}`;
}

function withoutQuery(target: string): string {
  const at = target.indexOf('?');
  return at === -1 ? target : `${target.slice(0, at)}?...`;
}

/** The near misses of a denial as lines for people: each with what would have to be otherwise. */
export function formatExplanation(explanation: Explanation, directory: string): string {
  const { decisive, alsoDenying = [], near, omitted } = explanation;
  const lines: string[] = [];
  if (decisive !== undefined)
    lines.push(
      `The rule that decided stands in ${placeOf(decisive.source, directory)}. Without it this request would meet the next one.`,
    );
  for (const { policy, rule, source } of alsoDenying)
    lines.push(`It is denied as well by ${policy} rule ${rule}, ${placeOf(source, directory)}.`);
  if (near.length > 0) lines.push('The rules that came closest, and what they want:');
  for (const miss of near) lines.push(`  ${formatNearMiss(miss)}  ${paint('dim', placeOf(miss.source, directory))}`);
  if (omitted !== undefined) lines.push(`${omitted} further rules were not looked at.`);
  return lines.map((line) => `${printable(line, '\u001b')}\n`).join('');
}
