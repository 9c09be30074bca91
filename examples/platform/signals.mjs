// Ctrl-C and SIGTERM, also when they come through npm.

// npm passes a signal on that the terminal has already sent to everyone, so one Ctrl-C may arrive twice.
const samePressMs = 500;

/** The first signal ends gently, a second one at once. The end of the npm that started us counts as a signal: it may have been killed alone. */
export function onStop({ gently, atOnce }) {
  let firstAt;
  const hear = () => {
    const now = performance.now();
    if (firstAt === undefined) {
      firstAt = now;
      void gently();
    } else if (now - firstAt > samePressMs) atOnce();
  };
  process.on('SIGINT', hear);
  process.on('SIGTERM', hear);
  if (process.env.npm_lifecycle_event === undefined || process.platform === 'win32') return;
  const parent = process.ppid;
  const watching = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(watching);
    if (firstAt === undefined) hear();
  }, 250);
  watching.unref();
}
