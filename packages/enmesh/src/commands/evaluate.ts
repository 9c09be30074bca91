import type { Command } from 'commander';
import { ask, withRequestFlags, type AskOptions } from '../evaluate/ask.js';
import { formatEvaluation, sourceOf } from '../evaluate/render.js';
import { answerCases } from '../evaluate/stream.js';
import { exitCodes, formatJson, MisuseError, writeOut } from '../output.js';

interface EvaluateOptions extends AskOptions {
  readonly json?: boolean;
  readonly stream?: boolean;
}

const examples = `
Examples:
  $ enmesh evaluate --config mesh --workload product/enmesh.yaml http://product.shop/items \\
      --as spiffe://cluster.local/ns/shop/sa/gateway
  $ enmesh evaluate --path /admin -X DELETE --user https://idp.example/alice --claims '{"groups":["admin"]}'
  $ enmesh evaluate --curl "curl -H 'x-team: orders' http://product.shop/items" --json
  $ enmesh evaluate --stream < questions.ndjson
                            worlds and cases a line in, {"case", "verdict"} a line out

Exit code 0: allowed, 1: denied or closed. Nothing is called or fetched.`;

/** `enmesh evaluate`: what the door of a workload would say to a request, by the door's own code. */
export function register(program: Command): void {
  withRequestFlags(program.command('evaluate').description('decide a request as the door of a workload would'))
    .option('--json', 'print {"verdict": {...}, "refusal": {...}, "source": "file:line"}')
    .option('--stream', 'answer worlds and cases from standard input, one JSON line each')
    .addHelpText('after', examples)
    .action(evaluate);
}

async function evaluate(url: string | undefined, options: EvaluateOptions): Promise<void> {
  if (options.stream === true) {
    if (url !== undefined) throw new MisuseError('--stream reads standard input and takes no URL');
    return answerCases(process.stdin, writeOut);
  }
  const { configuration, asked, evaluation } = await ask(url, options);
  const { verdict, refusal } = evaluation;
  const source = sourceOf(verdict, configuration);
  await writeOut(
    options.json === true
      ? formatJson({ verdict, ...(refusal && { refusal }), ...(source && { source }) })
      : formatEvaluation(evaluation, asked, configuration),
  );
  if (verdict.outcome !== 'allowed') process.exitCode = exitCodes.finding;
}
