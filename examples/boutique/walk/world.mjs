// What the walk works with: the boutique, users, callers of any service account, and why a service did what it did.
import { cpSync } from 'node:fs';
import { createMesh } from '@enmesh/core';
import { ask } from '../../platform/ask.mjs';
import { createBoutique, hear, register } from './boutique.mjs';
import { createUsers } from './users.mjs';

/** Starts everything. `policies` is the directory of the policies. */
export async function createWorld({ policies }) {
  const users = await createUsers();
  return new World(users, await createBoutique({ policies, keySet: users.keySet }));
}

class World {
  #callers = new Map();

  constructor(users, boutique) {
    this.users = users;
    this.boutique = boutique;
    this.heard = boutique.heard;
  }

  /** A request at the public port of frontend as a browser sends it, over a bare socket: plain HTTP, a token or none, the path as it is spelled. */
  visit(method, path, { token, headers = {}, body } = {}) {
    const all = { ...headers, ...(token !== undefined && { authorization: `Bearer ${token}` }) };
    return ask({ port: this.boutique.ports.get('frontend'), method, path, headers: all, body });
  }

  /** The same at any service, in the clear or, with `tls`, by TLS of the caller's own making. */
  connect(service, method, path, tls) {
    return ask({ port: this.boutique.ports.get(service), method, path, tls });
  }

  /**
   * A call by a process of the mesh (this one) that has the certificate of a service account, `frontend` or `namespace/name`. `config` is another
   * configuration than everybody's.
   */
  async call(account, service, method, path, { headers = {}, body, config } = {}) {
    const mesh = await this.#caller(account, config);
    try {
      const url = `http://${service}.boutique.svc.cluster.local${path}`;
      const { statusCode, headers: answered, body: text } = await mesh.request(url, { method, headers, body });
      return { status: statusCode, headers: answered, body: await text.text() };
    } catch (error) {
      return { status: 0, headers: {}, body: '', code: error.code ?? error.name, message: error.message };
    }
  }

  async #caller(account, config = this.boutique.directory) {
    const key = `${account} ${config}`;
    const [serviceAccount, namespace = 'boutique'] = account.split('/').reverse();
    if (!this.#callers.has(key)) {
      const identity = { dev: { directory: this.boutique.identities } };
      const mesh = await createMesh({ namespace, serviceAccount, identity, config, log: false, env: {} });
      this.#callers.set(key, mesh);
      await mesh.ready();
    }
    return this.#callers.get(key);
  }

  /** A configuration whose registry is a lie: it gives the address of `other` for `service`. */
  misled(service, other) {
    const directory = `${this.boutique.directory}-misled`;
    const { ports } = this.boutique;
    cpSync(this.boutique.directory, directory, { recursive: true });
    register(directory, new Map([...ports, [service, ports.get(other)]]));
    return directory;
  }

  /** What a service told of a refusal: of the answer's own where the client was told its id, else the first since `from`. */
  denied(service, answer, from) {
    const id = answer.headers['x-enmesh-decision'];
    const isIt = (one, at) => one.service === service && one.kind === 'denied' && (id === undefined ? at >= from : one.id === id);
    return hear(this.heard, (all) => all.find(isIt));
  }

  /** What the services told of the requests that they let in since `from`, once there are `count`. */
  async allowed(count, from) {
    const all = () => this.heard.slice(from).filter(({ kind }) => kind === 'allowed');
    await hear(this.heard, () => all().length >= count, 3_000);
    return all();
  }

  /** The first hop token that arrived at the service that was broken into. */
  stolen() {
    return this.heard.find(({ kind }) => kind === 'stolen')?.token ?? 'none';
  }

  async close() {
    await Promise.all([...this.#callers.values()].map((mesh) => mesh.close()));
    await this.boutique.close();
  }
}
