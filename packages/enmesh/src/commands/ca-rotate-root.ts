import { Argument, type Command } from 'commander';
import type { RotationStatus, RotationStep } from '@enmesh/ca';
import { formatJson, MisuseError, writeOut } from '../output.js';
import { directoryOption, readCaSettings, withAuthority } from './ca-files.js';

interface RotateFlags {
  readonly directory: string;
  readonly from?: string;
  readonly force?: boolean;
  readonly abandon?: boolean;
  readonly json?: boolean;
}

const examples = `
Three steps, each safe once every certificate given out before the last one has ended (or, by --force, when you say so):
  prepare    the new root is trusted beside the old one; services learn of it as they renew
  activate   certificates are signed below the new root
  retire     the old root is trusted no more, its keys are removed
A running authority follows within a second. Without a step, where the rotation stands.
--abandon goes back, at any time before retire: a root that is only prepared is dropped at once; after activate the old root signs again,
and retire drops the new one when what it has signed has ended.

Examples:
  $ enmesh ca rotate-root
  $ enmesh ca rotate-root prepare
  $ enmesh ca rotate-root prepare --from cacerts-2027      with a root made elsewhere
  $ enmesh ca rotate-root activate --json
  $ enmesh ca rotate-root --abandon`;

/** `enmesh ca rotate-root`: one step of a root rotation, or where it stands. */
export function registerRotateRoot(ca: Command): void {
  ca.command('rotate-root')
    .description('replace the root with overlap, step by step')
    .addArgument(new Argument('[step]', 'what to do next').choices(['prepare', 'activate', 'retire']))
    .option(...directoryOption)
    .option('--from <directory>', 'prepare: plug in the files of the new signing certificate')
    .option('--abandon', 'give up a rotation that has begun')
    .option('--force', 'do not wait for certificates to end')
    .option('--json', 'print {"phase": .., "trusted": [..], "next": .., "safeFrom": ..}')
    .addHelpText('after', examples)
    .action((step: RotationStep | undefined, flags: RotateFlags) => withAuthority(() => rotate(step, flags)));
}

async function rotate(named: RotationStep | undefined, flags: RotateFlags): Promise<void> {
  if (named !== undefined && flags.abandon === true) throw new MisuseError(`--abandon is a step of its own, beside ${named}`);
  const step = flags.abandon === true ? 'abandon' : named;
  const { readRotation, rotateRoot } = await import('@enmesh/ca');
  const { directory, trustDomain } = await readCaSettings(flags.directory);
  const { from, force } = flags;
  const options = { directory, trustDomain, ...(from === undefined ? {} : { from }), ...(force === undefined ? {} : { force }) };
  const status = step === undefined ? await readRotation(directory) : await rotateRoot(step, options);
  const { state, next, safeFrom } = status;
  const since = new Date(state.since).toISOString();
  const safe = safeFrom === 0 ? null : new Date(safeFrom).toISOString();
  if (flags.json === true)
    return writeOut(
      formatJson({ phase: state.phase, since, signer: state.signer, trusted: state.trusted, next, safeFrom: safe }),
    );
  return writeOut(sentencesFor(status, safe));
}

function sentencesFor({ state, next, safeFrom }: RotationStatus, safe: string | null): string {
  const stands = {
    settled: `settled: one root is trusted and signs.`,
    prepared: `prepared: the new root is trusted beside the old one, which signs.`,
    activated: `activated: the new root signs, the old one is still trusted.`,
    abandoned: `abandoned: the old root signs again, the new one is trusted until what it signed has ended.`,
  }[state.phase];
  const when = safe === null || safeFrom <= Date.now() ? 'whenever you like' : `safe from ${safe}`;
  return `${stands}\nNext: enmesh ca rotate-root ${next} (${when})\n`;
}
