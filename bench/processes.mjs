// The processes of a benchmark: each pinned to one core, asked over IPC.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';

/** Starts a script pinned to one core where taskset exists; resolves with the child and its first message as `hello`. */
export function start(core, script, args) {
  const pinned = existsSync('/usr/bin/taskset');
  const node = [process.execPath, '--expose-gc', script, ...args];
  const [command, rest] = pinned ? ['/usr/bin/taskset', ['-c', String(core), ...node]] : [node[0], node.slice(1)];
  const child = spawn(command, rest, {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    env: { ...process.env, NODE_ENV: 'test' },
  });
  return new Promise((done, fail) => {
    child.once('message', (message) => done(Object.assign(child, { hello: message })));
    child.once('exit', (code) => fail(new Error(`${script} ${args[0]} ended with ${code}`)));
  });
}

/** Sends a message and resolves with the next one that comes back. */
export function ask(child, message) {
  return new Promise((done) => {
    child.once('message', done);
    child.send(message);
  });
}

/** Ends children that `start` began: they end themselves when nobody is left to ask them. */
export function stop(children) {
  for (const child of children) {
    child.removeAllListeners('exit');
    child.disconnect();
  }
}
