import type { Command } from 'commander';
import type { KeptDecision } from '@enmesh/core/describe';
import { ask, withRequestFlags, type AskOptions } from '../evaluate/ask.js';
import { formatEvaluation, formatExplanation, sourceOf } from '../evaluate/render.js';
import { exitCodes, formatJson, MisuseError, paint, printable, writeOut } from '../output.js';
import { askRunning } from '../running.js';

interface ExplainOptions extends AskOptions {
  readonly json?: boolean;
  readonly running?: string;
}

const examples = `
Examples:
  $ enmesh explain --config mesh --workload product/enmesh.yaml http://product.shop/items \\
      --as spiffe://cluster.local/ns/shop/sa/visitor
                            the verdict, and of a denial the rules that came closest with what they want
  $ enmesh explain --running 127.0.0.1:15000 3f9c2a7b1e4d5a60
                            a denial of a running process, by the id in its log line or in x-enmesh-decision

Exit code 0: allowed, 1: denied or closed, or no such decision.`;

/** `enmesh explain`: why a request is denied, and what would have to be otherwise. */
export function register(program: Command): void {
  withRequestFlags(
    program.command('explain').description('explain the decision on a request: which rule, or how near the rules came'),
  )
    .option('--json', 'print {"verdict", "refusal", "explanation"}')
    .option('--running <address>', 'ask the admin listener of a process; the argument is then a decision id')
    .addHelpText('after', examples)
    .action(explain);
}

async function explain(argument: string | undefined, options: ExplainOptions): Promise<void> {
  if (options.running !== undefined) return explainRunning(options.running, argument, options);
  const { configuration, asked, evaluation } = await ask(argument, options);
  const { verdict, refusal } = evaluation;
  const explanation = evaluation.explain?.();
  const source = sourceOf(verdict, configuration);
  if (options.json === true) {
    await writeOut(
      formatJson({ verdict, ...(refusal && { refusal }), ...(source && { source }), ...(explanation && { explanation }) }),
    );
  } else {
    const told = explanation === undefined ? '' : formatExplanation(explanation, configuration.directory);
    await writeOut(formatEvaluation(evaluation, asked, configuration) + told);
  }
  if (verdict.outcome !== 'allowed') process.exitCode = exitCodes.finding;
}

async function explainRunning(address: string, id: string | undefined, { json }: ExplainOptions): Promise<void> {
  if (id === undefined || !/^[0-9a-f]{1,64}$/.test(id))
    throw new MisuseError(
      'which decision? Its id stands in the log line, and in the answer as x-enmesh-decision: enmesh explain --running ADDRESS ID',
    );
  const decision = (await askRunning(address, `/decisions/${id}`)) as KeptDecision | undefined;
  process.exitCode = exitCodes.finding;
  if (decision === undefined)
    return writeOut(
      json === true
        ? formatJson({ error: 'unknown' })
        : `The process at ${address} keeps no such decision (it keeps the last 1000).\n`,
    );
  await writeOut(json === true ? formatJson(decision) : formatDecision(decision));
}

function formatDecision(decision: KeptDecision): string {
  const { policy, rule, near = [] } = decision;
  const rows: [string, string | undefined][] = [
    ['time', decision.time],
    ['request', decision.method === undefined ? undefined : `${decision.method} ${decision.path ?? ''}`],
    ['caller', decision.peer],
    ['decided by', policy === undefined ? `the step ${decision.step}` : `${policy} rule ${rule ?? ''}`],
    ['why', decision.reason],
    ['code', decision.code],
    ['remedy', decision.remedy],
  ];
  const told = rows.filter((row): row is [string, string] => row[1] !== undefined);
  const lines = told.map(([name, value]) => `  ${paint('dim', name.padEnd(11))} ${printable(value)}\n`);
  const misses =
    near.length === 0
      ? ''
      : `The rules that came closest, and what they want:\n${near.map((miss) => `  ${printable(miss)}\n`).join('')}`;
  return `${paint('red', 'denied')} ${decision.status}\n${lines.join('')}${misses}`;
}
