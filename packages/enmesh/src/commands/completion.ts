import { Argument, type Command } from 'commander';
import { formatCompletion, shells, type Shell } from '../completion.js';
import { writeOut } from '../output.js';

const examples = `
Examples:
  $ source <(enmesh completion bash)              in ~/.bashrc
  $ source <(enmesh completion zsh)               in ~/.zshrc, after compinit
  $ enmesh completion fish > ~/.config/fish/completions/enmesh.fish`;

/** `enmesh completion`: a script that completes commands and options in a shell, generated from the program itself. */
export function register(program: Command): void {
  program
    .command('completion')
    .description('print a completion script for a shell')
    .addArgument(new Argument('<shell>').choices(shells))
    .addHelpText('after', examples)
    .action((shell: Shell) => writeOut(formatCompletion(shell, program)));
}
