import type { Command } from 'commander';

/** The shells that completions are written for. */
export const shells = ['bash', 'zsh', 'fish'] as const;

/** One of {@link shells}. */
export type Shell = (typeof shells)[number];

interface Completed {
  readonly name: string;
  readonly description: string;
  readonly subcommands: readonly string[];
  readonly options: readonly { readonly flags: readonly string[]; readonly description: string }[];
}

/** A completion script for one shell, generated from the commands and options of `program`. */
export function formatCompletion(shell: Shell, program: Command): string {
  const commands = program.commands.map((command) => describe(command)).toSorted((a, b) => (a.name < b.name ? -1 : 1));
  return { bash, zsh, fish }[shell](commands);
}

function describe(command: Command): Completed {
  // The options of subcommands are offered together: a shell that knew which one it is in would need a parser.
  const all = new Map([command, ...command.commands].flatMap(({ options }) => options).map((option) => [option.long, option]));
  const options = [...all.values()].map((option) => ({
    flags: [option.short, option.long].filter((flag) => flag !== undefined && flag !== null),
    description: option.description,
  }));
  return {
    name: command.name(),
    description: command.description(),
    subcommands: command.commands.map((subcommand) => subcommand.name()),
    options: [...options, { flags: ['-h', '--help'], description: 'display help for command' }],
  };
}

const wordsOf = ({ options }: Completed): string => options.flatMap(({ flags }) => flags).join(' ');

function bash(commands: readonly Completed[]): string {
  const cases = commands.map((command) => {
    const below = command.subcommands.length === 0 ? '' : ` below='${command.subcommands.join(' ')}'`;
    return `    ${command.name}) words='${wordsOf(command)}'${below} ;;`;
  });
  return `# enmesh completion for bash: source <(enmesh completion bash)
_enmesh() {
  local current="\${COMP_WORDS[COMP_CWORD]}" words='' below=''
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W '${commands.map(({ name }) => name).join(' ')} help --help --version' -- "$current"))
    return
  fi
  case "\${COMP_WORDS[1]}" in
${cases.join('\n')}
  esac
  if [ "$COMP_CWORD" -eq 2 ] && [ -n "$below" ]; then
    COMPREPLY=($(compgen -W "$below --help" -- "$current"))
  elif [ "\${current#-}" != "$current" ]; then
    COMPREPLY=($(compgen -W "$words" -- "$current"))
  fi
}
complete -o default -F _enmesh enmesh
`;
}

// Between single quotes a shell reads only a single quote specially; zsh also takes brackets and colons of a description as syntax.
const quoted = (text: string): string => text.replaceAll("'", `'\\''`);
const zshText = (text: string): string => quoted(text.replace(/[[\]:\\]/g, '\\$&'));

function zsh(commands: readonly Completed[]): string {
  const names = commands.map(({ name, description }) => `    '${name}:${zshText(description)}'`);
  const cases = commands.map(({ name, subcommands, options }) => {
    const below = subcommands.length === 0 ? '' : `'1:command:(${subcommands.join(' ')})' `;
    const lines = options.flatMap(({ flags, description }) => flags.map((flag) => `'${flag}[${zshText(description)}]'`));
    return `    ${name}) _arguments ${below}${lines.join(' ')} '*:file:_files' ;;`;
  });
  return `#compdef enmesh
# enmesh completion for zsh: source <(enmesh completion zsh)
_enmesh() {
  local -a commands=(
${names.join('\n')}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  local command="\${words[2]}"
  shift words
  (( CURRENT -= 1 ))
  case "$command" in
${cases.join('\n')}
  esac
}
compdef _enmesh enmesh
`;
}

function fish(commands: readonly Completed[]): string {
  const names = commands.map(
    ({ name, description }) => `complete -c enmesh -n __fish_use_subcommand -f -a ${name} -d '${fishText(description)}'`,
  );
  const below = commands
    .filter(({ subcommands }) => subcommands.length > 0)
    .map(
      ({ name, subcommands }) => `complete -c enmesh -n '__fish_seen_subcommand_from ${name}' -f -a '${subcommands.join(' ')}'`,
    );
  const options = commands.flatMap(({ name, options }) =>
    options.map(({ flags, description }) => {
      const words = flags.map((flag) => (flag.startsWith('--') ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`));
      return `complete -c enmesh -n '__fish_seen_subcommand_from ${name}' ${words.join(' ')} -d '${fishText(description)}'`;
    }),
  );
  return `# enmesh completion for fish: enmesh completion fish | source\n${[...names, ...below, ...options].join('\n')}\n`;
}

const fishText = (text: string): string => text.replace(/[\\']/g, '\\$&');
