// What the services of the examples share: saying where they listen, why a request was let in, and ending when asked to.

/** Prints one line of JSON when the service is ready; the starter reads it. Policies speak of `workloadPort`, clients connect to `port`. */
export function announce(service, server, mesh, workloadPort) {
  const { address, port } = server.address();
  const { spiffeId } = mesh.workload;
  const place = { address: `http://${address}:${port}`, port, workloadPort };
  console.log(JSON.stringify({ service, ready: true, ...place, identity: spiffeId, pid: process.pid }));
}

/** The decision that let a request in, in words. The shop answers with it in `x-shop-decision`, so that the walk can print why; a real service would not. */
export function wordsOf({ reason, policy, rule }) {
  return policy === undefined ? reason : `${reason}: rule ${rule} of ${policy}`;
}

/** Ctrl-C, SIGTERM and the end of the starter drain and end the service; a second signal ends it at once. */
export function stopOnSignals(mesh) {
  let asked = false;
  const stop = () => {
    if (asked) process.exit(1);
    asked = true;
    void mesh.close().then(() => process.exit(0));
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  if (process.channel !== undefined) process.on('disconnect', stop);
}

/** Ends a service that cannot start: what is wrong and what to do, without the stack. */
export function giveUp(error) {
  console.error(`${error.code ?? error.name}: ${error.message}${error.remedy === undefined ? '' : `. ${error.remedy}`}`);
  process.exit(1);
}
