import type { Command } from 'commander';
import { noticeEvents, type NoticeEvent } from '@enmesh/core/issuance';
import { printable, writeOut } from '../output.js';
import { directoryOption, readCaSettings, withAuthority } from './ca-files.js';

interface RunFlags {
  readonly directory: string;
  readonly listen?: string;
  readonly json?: boolean;
}

const examples = `
Prints one line when it is ready; what it gives out and refuses goes to standard error. SIGTERM lets calls finish and ends it with exit code 0.
Files that change (a plugged-in certificate, the root, the deny list, key sets) are taken up while it runs; ca.yaml is read at start.

Examples:
  $ enmesh ca run
  $ enmesh ca run --directory /etc/enmesh-ca --listen 0.0.0.0:15012
  $ ENMESH_IDENTITY=istio CA_ADDR=ca.example.com:15012 node server.js      a service that gets its identity there`;

/** `enmesh ca run`: the authority answers until SIGTERM. */
export function registerRun(ca: Command): void {
  ca.command('run')
    .description('answer requests for certificates until SIGTERM')
    .option(...directoryOption)
    .option('--listen <host:port>', 'instead of listen: in ca.yaml')
    .option('--json', 'print {"address": .., "trustDomain": .., "pid": ..} and events as JSON lines')
    .addHelpText('after', examples)
    .action((flags: RunFlags) => withAuthority(() => runAuthority(flags)));
}

async function runAuthority(flags: RunFlags): Promise<void> {
  const { createCaServer, parseListen } = await import('@enmesh/ca');
  const settings = await readCaSettings(flags.directory);
  const listen = flags.listen === undefined ? settings.listen : parseListen(flags.listen, '--listen');
  const stopTelling = noticeEvents.subscribe((event) => tell(event, flags.json === true));
  try {
    const server = await createCaServer({ ...settings, listen });
    const stopped = stopSignal();
    const { address } = server;
    const { trustDomain } = settings;
    const line = `ready: certificate authority of ${trustDomain} at ${address}\n`;
    await writeOut(flags.json === true ? `${JSON.stringify({ address, trustDomain, pid: process.pid })}\n` : line);
    await stopped;
    await server.close();
  } finally {
    stopTelling();
  }
}

/** Resolves at the first SIGTERM or SIGINT; a second one ends the process at once. */
function stopSignal(): Promise<void> {
  return new Promise((resolve) => {
    let isStopping = false;
    const stop = (): void => {
      if (isStopping) process.exit(1);
      isStopping = true;
      resolve();
    };
    process.on('SIGTERM', stop);
    process.on('SIGINT', stop);
  });
}

function tell({ kind, level, code, message, details }: NoticeEvent, asJson: boolean): void {
  const time = new Date().toISOString();
  const text = `${time} ${level === 'info' ? '' : `${level} `}${kind}${code === undefined ? '' : ` ${code}`}: ${printable(message)}\n`;
  process.stderr.write(asJson ? `${JSON.stringify({ time, level, kind, code, message, details })}\n` : text);
}
