// The whole shop: three services and the identity provider, each its own process.
import { fileURLToPath } from 'node:url';
import { startProcess } from '../../platform/processes.mjs';
import { formatRegistry } from '../../platform/registry.mjs';
import { createWorkingCopy } from './working-copy.mjs';

const folder = (name) => fileURLToPath(new URL(`../${name}/`, import.meta.url));

/**
 * Starts the shop and resolves when all of it is ready; rejects, with everything ended, when a part cannot start. `ports` are those of the
 * environment (`GATEWAY_PORT` ...), `show` and `before` fill the working copy, `onLine(name, line, stream)` hears the processes. `extras` are, by
 * a service's name, modules that it loads before its own and more of its environment; `onMessage` hears what such a module sends.
 */
export async function createShop({ ports = {}, show, before = () => {}, onLine = () => {}, extras = {}, onMessage = () => {} }) {
  const copy = createWorkingCopy({ show });
  const processes = [];
  const places = new Map();
  const start = (name, options) => {
    const started = startProcess({ name, onLine: (line, stream) => onLine(name, line, stream), ...options });
    processes.push(started);
    return started;
  };
  const startService = (name) => {
    const { preload, env } = extras[name] ?? {};
    return start(name, {
      file: 'main.js',
      cwd: folder(name),
      env: { ...meshEnvironment(copy), ...ports, ...env },
      preload,
      onMessage,
    });
  };
  const close = async () => {
    await Promise.all(processes.map((one) => one.stop()));
    copy.remove();
  };
  const shop = {
    copy,
    processes,
    close,
    /** Starts one more process as a workload of namespace shop, such as the walk's callers. */
    join: (name, file, serviceAccount) => {
      const env = { ...meshEnvironment(copy), POD_NAMESPACE: 'shop', SERVICE_ACCOUNT: serviceAccount };
      return start(name, { file: fileURLToPath(file), cwd: folder('walk'), env });
    },
    /** Where each workload is, as the registry has it; `register` writes it anew. */
    places,
    register: () => copy.put('registry.yaml', formatRegistry([...places.values()])),
  };
  const isOurs = (name) => name !== 'idp';
  const place = (name, { port }) => places.set(name, { name, port, ...(isOurs(name) && { serviceAccount: name }) });
  try {
    before(copy);
    shop.idp = start('idp', { file: 'identity-provider.mjs', cwd: folder('.'), env: ports });
    shop.product = startService('product');
    shop.stock = startService('stock');
    await Promise.all([shop.idp, shop.product, shop.stock].map(async (one) => place(one.name, (one.place = await one.ready))));
    shop.register();
    shop.gateway = startService('gateway');
    place('gateway', (shop.gateway.place = await shop.gateway.ready));
    shop.register();
    return shop;
  } catch (error) {
    await close();
    throw error;
  }
}

function meshEnvironment({ directory, identities }) {
  return { ENMESH_CONFIG: directory, ENMESH_DEV_DIRECTORY: identities };
}
