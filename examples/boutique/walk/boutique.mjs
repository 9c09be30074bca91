// The whole boutique: eleven services, each its own process, and what they say of every request that reaches them.
import { cpSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startProcess } from '../../platform/processes.mjs';
import { formatRegistry } from '../../platform/registry.mjs';

const services = new URL('../services/', import.meta.url);
const names = readdirSync(services);
/** The service that was broken into: it writes down every hop token that it gets. */
export const compromised = 'recommendation';

/**
 * Starts all services on a copy of the directory `policies` that has `keySet` as the key set of users; rejects, with everything ended, when one cannot
 * start.
 */
export async function createBoutique({ policies, keySet }) {
  const root = mkdtempSync(join(tmpdir(), 'enmesh-boutique-'));
  const boutique = {
    directory: join(root, 'mesh'),
    /** Where the development authority of this run lives. */
    identities: join(root, '.enmesh'),
    /** Everything the services have told, in order: `{service, kind, ...}`. */
    heard: [],
    processes: [],
    ports: new Map(),
    async close() {
      await Promise.all(boutique.processes.map((one) => one.stop()));
      rmSync(root, { recursive: true, force: true });
    },
  };
  try {
    cpSync(policies, boutique.directory, { recursive: true });
    putKeySet(join(boutique.directory, 'users.yaml'), keySet);
    boutique.processes = names.map((name) => startService(name, boutique));
    for (const one of boutique.processes) boutique.ports.set(one.name, (await one.ready).port);
    register(boutique.directory, boutique.ports);
    const isWhole = await hear(boutique.heard, (all) => names.every((name) => all.some(hasAll(name))), 20_000);
    if (!isWhole) throw new Error('some service did not say within 20 s that it knows all others');
    return boutique;
  } catch (error) {
    await boutique.close();
    throw error;
  }
}

function startService(name, { directory, identities, heard }) {
  const preload = [new URL('witness.mjs', import.meta.url)];
  if (name === compromised) preload.push(new URL('../../platform/wiretap.mjs', import.meta.url));
  const cwd = fileURLToPath(new URL(`${name}/`, services));
  const env = { ENMESH_CONFIG: directory, ENMESH_DEV_DIRECTORY: identities };
  return startProcess({
    name,
    file: 'main.js',
    cwd,
    env,
    preload,
    onMessage: (message) => heard.push({ service: name, ...message }),
  });
}

const hasAll =
  (name) =>
  ({ service, kind, workloads }) =>
    service === name && kind === 'configured' && workloads === names.length;

/** Writes where every service is, as a platform's registry would; by rename, so that nobody reads half of it. */
export function register(directory, ports) {
  const entries = [...ports].map(([name, port]) => ({ name, port, serviceAccount: name }));
  const next = join(directory, '..', 'next');
  writeFileSync(next, formatRegistry(entries, 'boutique'));
  renameSync(next, join(directory, 'registry.yaml'));
}

/**
 * Waits until `find` gives something for what was heard: what another process tells may arrive a moment after the answer that it is about. Undefined
 * when nobody tells it in time.
 */
export async function hear(heard, find, withinMs = 5_000) {
  for (const until = performance.now() + withinMs; ;) {
    const found = find(heard);
    if (found || performance.now() > until) return found || undefined;
    await new Promise((done) => setTimeout(done, 5));
  }
}

function putKeySet(file, keySet) {
  const text = readFileSync(file, 'utf8');
  const places = text.match(/^ *jwks: .*$/gm) ?? [];
  if (places.length !== 1) throw new Error(`${file} should have one line \`jwks:\`, not ${places.length}`);
  writeFileSync(
    file,
    text.replace(/(?<=^ *jwks: ).*$/m, () => `'${keySet}'`),
  );
}
