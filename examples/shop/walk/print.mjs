// The walk on a terminal, or in a file: colour only where somebody looks.
const isColoured = process.stdout.isTTY === true && process.env.NO_COLOR === undefined;
const paint = (code) => (text) => (isColoured ? `\u001b[${code}m${text}\u001b[0m` : text);
const [bold, dim, green, red] = ['1', '2', '32', '31'].map(paint);

export function printTitle(title) {
  console.log(`\n${bold(title)}`);
}

/** A note, or a check with what was asked, what came back, what was expected and why. */
export function printCheck({ note, asked, got, want, why, ok }) {
  if (note !== undefined) return console.log(dim(`  -- ${note}`));
  console.log(`  ${ok ? green('ok') : red('NO')}  asked     ${asked}`);
  console.log(`      got       ${ok ? got : red(got)}`);
  console.log(`      expected  ${want}`);
  console.log(dim(`      why       ${why}`));
}

export function printSum({ checks, failed, seconds }) {
  const sum = `${checks} checks, ${failed} not as expected, ${seconds.toFixed(1)} s`;
  console.log(`\n${failed === 0 ? green(sum) : red(sum)}`);
}
