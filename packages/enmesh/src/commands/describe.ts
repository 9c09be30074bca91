import type { Command } from 'commander';
import { compileSnapshot } from '@enmesh/core/config';
import { describeMesh, type MeshDescription } from '@enmesh/core/describe';
import { formatDescription } from '../describe/render.js';
import { readConfiguration, type ConfigurationOptions } from '../evaluate/configuration.js';
import { formatJson, MisuseError, writeOut } from '../output.js';
import { askRunning } from '../running.js';

interface DescribeOptions extends Pick<ConfigurationOptions, 'config'> {
  readonly json?: boolean;
  readonly running?: string;
}

const examples = `
Examples:
  $ enmesh describe                                        the workload of ./enmesh.yaml
  $ enmesh describe product/enmesh.yaml --config mesh      modes of its ports, who may call what, what it calls and how
  $ enmesh describe --running 127.0.0.1:15000 --json       what a process started with adminPort obeys now`;

/** `enmesh describe`: what a configuration means for one workload. */
export function register(program: Command): void {
  program
    .command('describe')
    .description('describe a workload: modes of its ports, policies in effect, who may call it, what it calls')
    .argument('[workload]', 'file of the workload (default: ./enmesh.yaml)')
    .option('--config <dir>', 'configuration directory (default: what the workload file says)')
    .option('--running <address>', 'ask the admin listener of a process instead')
    .option('--json', 'print the description as JSON')
    .addHelpText('after', examples)
    .action(describe);
}

async function describe(workload: string | undefined, options: DescribeOptions): Promise<void> {
  const { described, directory } =
    options.running === undefined ? await describeFiles(workload, options) : await describeRunning(options.running, workload);
  await writeOut(options.json === true ? formatJson(described) : formatDescription(described, directory));
}

interface Described {
  readonly described: MeshDescription;
  readonly directory: string;
}

async function describeFiles(file: string | undefined, { config }: DescribeOptions): Promise<Described> {
  const given = { ...(file === undefined ? {} : { workload: file }), ...(config === undefined ? {} : { config }) };
  const { resources, workload, directory } = await readConfiguration(given);
  return { described: describeMesh(compileSnapshot(resources, workload, 1)), directory };
}

async function describeRunning(address: string, workload: string | undefined): Promise<Described> {
  if (workload !== undefined) throw new MisuseError('--running asks a process, which is one workload: leave the file out');
  const described = (await askRunning(address, '/describe')) as MeshDescription | undefined;
  if (described?.workload === undefined) throw new MisuseError(`what answers at ${address} is no admin listener of enmesh`);
  return { described, directory: '' };
}
