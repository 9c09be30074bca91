// The walk on a terminal, or in a file: one line a call, colour only where somebody looks.
const isColoured = process.stdout.isTTY === true && process.env.NO_COLOR === undefined;
const paint = (code) => (text) => (isColoured ? `\u001b[${code}m${text}\u001b[0m` : text);
const [bold, dim, green, red] = ['1', '2', '32', '31'].map(paint);

export function printTitle(title) {
  console.log(`\n${bold(title)}`);
}

/** Whatever a service answers, a line stays a line. */
const inLine = (text) => text.replaceAll(/\s+/g, ' ').slice(0, 300);

/** The call, what its client got, and why; what was expected only where it was something else. */
export function printCheck({ what, got, why, ok, expected }) {
  const answer = inLine(got);
  console.log(`${ok ? green('ok') : red('NO')}  ${what} -> ${ok ? answer : red(answer)}  ${dim(`[${why}]`)}`);
  if (!ok) console.log(`    expected ${expected}`);
}

export function printSum({ right, all, seconds }) {
  const sum = `${right} of ${all} as expected`;
  console.log(`\n${right === all ? green(sum) : red(sum)}, ${seconds.toFixed(1)} s`);
}
