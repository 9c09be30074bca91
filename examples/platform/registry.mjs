// What a platform's registry knows and a policy never says: where each workload really is, and as which service account it runs.

/** One WorkloadEntry an entry: `{name, port, serviceAccount}`; without a service account the workload is outside of the mesh. */
export function formatRegistry(entries, namespace = 'shop') {
  const documents = entries.map(
    ({ name, port, serviceAccount }) => `apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata:
  name: ${name}
  namespace: ${namespace}
spec:
  address: 127.0.0.1
  ports:
    http: ${port}
  labels:
    app: ${name}
${serviceAccount === undefined ? '' : `  serviceAccount: ${serviceAccount}\n`}`,
  );
  return `# Written by the starter of the example, as a platform's registry would.\n${documents.join('---\n')}`;
}
