// What the three services share: saying where they listen, and ending when asked to.

/** Prints one line of JSON when the service is ready; the starter reads it. */
export function announce(service, server, mesh) {
  const { address, port } = server.address();
  console.log(
    JSON.stringify({
      service,
      ready: true,
      address: `http://${address}:${port}`,
      port,
      identity: mesh.workload.spiffeId,
      pid: process.pid,
    }),
  );
}

/** Ctrl-C and SIGTERM drain and end the service; a second one ends it at once. */
export function stopOnSignals(mesh) {
  let asked = false;
  const stop = () => {
    if (asked) process.exit(1);
    asked = true;
    void mesh.close().then(() => process.exit(0));
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
}
