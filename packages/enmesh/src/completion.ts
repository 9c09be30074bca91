import type { Command } from 'commander';

/** The shells that completions are written for. */
export const shells = ['bash', 'zsh', 'fish'] as const;

/** One of {@link shells}. */
export type Shell = (typeof shells)[number];

interface Completed {
  readonly name: string;
  readonly description: string;
  readonly options: readonly CompletedOption[];
  /** The words that the argument may be; undefined where it is a path. */
  readonly choices: readonly string[] | undefined;
}

interface CompletedOption {
  readonly flags: readonly string[];
  readonly description: string;
  /** What follows it: nothing, a path, or a text that nobody can guess. */
  readonly value: 'none' | 'path' | 'text';
}

/** A completion script for one shell, generated from the commands and options of `program`. */
export function formatCompletion(shell: Shell, program: Command): string {
  const commands = program.commands.map((command) => describe(command)).toSorted((a, b) => (a.name < b.name ? -1 : 1));
  return { bash, zsh, fish }[shell](commands);
}

function describe(command: Command): Completed {
  // The options of subcommands are offered together: a shell that knew which one it is in would need a parser.
  const all = new Map([command, ...command.commands].flatMap(({ options }) => options).map((option) => [option.long, option]));
  const options = [...all.values()].map((option): CompletedOption => ({
    flags: [option.short, option.long].filter((flag) => flag !== undefined && flag !== null),
    description: option.description,
    value: !option.required && !option.optional ? 'none' : /<[^>]*(dir|file)[^>]*>/i.test(option.flags) ? 'path' : 'text',
  }));
  return {
    name: command.name(),
    description: command.description(),
    options: [...options, { flags: ['-h', '--help'], description: 'display help for command', value: 'none' }],
    choices:
      command.commands.length > 0 ? command.commands.map((below) => below.name()) : command.registeredArguments[0]?.argChoices,
  };
}

const help = { name: 'help', description: 'display help for command' };
const wordsOf = ({ options }: Completed): string => options.flatMap(({ flags }) => flags).join(' ');

function bash(commands: readonly Completed[]): string {
  const cases = commands.map(
    (command) => `    ${command.name}) words='${wordsOf(command)}' choices='${command.choices?.join(' ') ?? ''}' ;;`,
  );
  const names = commands.map(({ name }) => name).join(' ');
  return `# enmesh completion for bash: source <(enmesh completion bash)
_enmesh() {
  local current="\${COMP_WORDS[COMP_CWORD]}" words='' choices=''
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W '${names} help --help --version' -- "$current"))
    return
  fi
  case "\${COMP_WORDS[1]}" in
${cases.join('\n')}
    help) choices='${names}' ;;
  esac
  if [ "\${current#-}" != "$current" ]; then
    COMPREPLY=($(compgen -W "$words" -- "$current"))
  elif [ -n "$choices" ]; then
    COMPREPLY=($(compgen -W "$choices" -- "$current"))
  fi
}
complete -o default -F _enmesh enmesh
`;
}

// Between single quotes a shell reads only a single quote specially; zsh also takes brackets and colons of a description as syntax.
const quoted = (text: string): string => text.replaceAll("'", `'\\''`);
const zshText = (text: string): string => quoted(text.replace(/[[\]:\\]/g, '\\$&'));

const zshValues = { none: '', path: ':path:_files', text: ':value: ' };

function zshOptions({ options, choices }: Completed): string {
  const specs = options.flatMap(({ flags, description, value }) => {
    // What takes a value may be given again; of a flag and its short form one is enough.
    const others = value === 'none' ? `(${flags.join(' ')})` : '*';
    return flags.map((flag) => `'${others}${flag}[${zshText(description)}]${zshValues[value]}'`);
  });
  return [...specs, choices === undefined ? "'*:file:_files'" : `'1:argument:(${choices.join(' ')})'`].join(' ');
}

function zsh(commands: readonly Completed[]): string {
  const names = [...commands, help].map(({ name, description }) => `    '${name}:${zshText(description)}'`);
  const cases = commands.map((command) => `    ${command.name}) _arguments ${zshOptions(command)} ;;`);
  return `#compdef enmesh
# enmesh completion for zsh: source <(enmesh completion zsh), or a file _enmesh in a folder of fpath
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
    help) _describe command commands ;;
  esac
}
if [ "\${funcstack[1]}" = _enmesh ]; then
  _enmesh "$@"
else
  compdef _enmesh enmesh
fi
`;
}

function fish(commands: readonly Completed[]): string {
  const names = [...commands, help].map(
    ({ name, description }) => `complete -c enmesh -n __fish_use_subcommand -f -a ${name} -d '${fishText(description)}'`,
  );
  const options = commands.flatMap(({ name, options: own, choices }) => {
    const on = `complete -c enmesh -n '__fish_seen_subcommand_from ${name}'`;
    const values = { none: '', path: ' -r -F', text: ' -x' };
    const lines = own.map(({ flags, description, value }) => {
      const words = flags.map((flag) => (flag.startsWith('--') ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`));
      return `${on} ${words.join(' ')}${values[value]} -d '${fishText(description)}'`;
    });
    return choices === undefined ? lines : [...lines, `${on} -f -a '${choices.join(' ')}'`];
  });
  const helped = `complete -c enmesh -n '__fish_seen_subcommand_from help' -f -a '${commands.map(({ name }) => name).join(' ')}'`;
  return `# enmesh completion for fish: enmesh completion fish | source\n${[...names, ...options, helped].join('\n')}\n`;
}

const fishText = (text: string): string => text.replace(/[\\']/g, '\\$&');
