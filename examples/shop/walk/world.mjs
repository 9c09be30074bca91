// What the walk's steps work with: the shop, a way to change its configuration, callers, and the reasons that the services give.
import { execFile } from 'node:child_process';
import { createShop } from '../platform/shop.mjs';
import { ask } from '../../platform/ask.mjs';
import { createChecks } from './checks.mjs';

const freePorts = { GATEWAY_PORT: '0', PRODUCT_PORT: '0', STOCK_PORT: '0', IDP_PORT: '0' };

/** Starts the shop as step 1 wants it, every port open, with two callers beside it; `onLine` hears all processes. */
export async function createWorld({ onLine } = {}) {
  const loot = [];
  const shop = await createShop({
    ports: freePorts,
    // For the last step: stock keeps an access log, and was broken into.
    extras: {
      stock: { env: { ENMESH_ACCESS_LOG: 'stderr' }, preload: [new URL('../../platform/wiretap.mjs', import.meta.url)] },
    },
    onMessage: ({ kind, token }) => kind === 'stolen' && loot.push(token),
    show: 'empty',
    before: (copy) => {
      copy.teach('00-services.yaml');
      copy.teach('01-modes.yaml');
      copy.edit('01-modes.yaml', 'mode: STRICT', 'mode: DISABLE');
    },
    onLine,
  });
  try {
    // A caller of its own service account, and one that has the gateway's.
    const callers = {
      visitor: shop.join('visitor', new URL('caller.mjs', import.meta.url), 'visitor'),
      gateway: shop.join('second-gateway', new URL('caller.mjs', import.meta.url), 'gateway'),
    };
    await Promise.all(Object.values(callers).map((one) => one.ready));
    const world = new World(shop, callers, loot);
    await world.settle();
    return world;
  } catch (error) {
    await shop.close();
    throw error;
  }
}

class World {
  constructor(shop, callers, loot) {
    this.shop = shop;
    this.loot = loot;
    this.callers = callers;
    this.watchers = [shop.product, shop.stock, shop.gateway, ...Object.values(callers)];
  }

  /** Runs one step; its checks, each with `ok`. */
  async walk(step, onCheck = () => {}) {
    const { check, note, checks } = createChecks(onCheck);
    await step.run({ world: this, check, note });
    return checks;
  }

  /** A change of the directory, and the wait until every process has said that it is in force, or rejected. */
  async change(make) {
    const from = this.watchers.map(({ said }) => said.length);
    await make(this.shop.copy);
    await Promise.all(
      this.watchers.map((one, at) =>
        one.line(/ config-(loaded|rejected)\b/, { from: from[at], what: 'word of the changed configuration' }),
      ),
    );
  }

  /** Waits until every process has the whole registry, which grew while they were starting: no load is under way then. */
  async settle() {
    const whole = new RegExp(` in force: .*\\b${this.shop.places.size} WorkloadEntry`);
    await Promise.all(this.watchers.map((one) => one.line(whole, { what: 'word of the whole registry' })));
  }

  /** A request in the clear to one of the services. */
  plain(service, path, { method = 'GET', headers = {}, token } = {}) {
    const all = { ...headers, ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) };
    return ask({ port: this.shop[service].place.port, method, path, headers: all });
  }

  /** A request of a caller of the mesh: `as` is `visitor` or `gateway`. */
  call(as, url, { method = 'GET', headers = {} } = {}) {
    return this.callers[as].ask({ url, method, headers });
  }

  /** A token of the shop's own identity provider. */
  async token(query = '') {
    const answer = await fetch(`${this.shop.idp.place.token}?${query}`);
    return answer.text();
  }

  /** Why a service let a request in: the decision that its handler was given. */
  allowed(service, { headers }) {
    const decision = headers['x-shop-decision'];
    return decision === undefined ? `${service} says nothing` : `${service} let it in: ${decision}`;
  }

  /** Why a service refused: its own line on standard error, by the decision's id where the client was told one, else its first since `from`. */
  async denied(service, { answer, from = 0 } = {}) {
    const id = answer?.headers?.['x-enmesh-decision'];
    const pattern = id === undefined ? / enmesh denied / : new RegExp(` enmesh denied ${id} `);
    const line = await this.shop[service].line(pattern, { from, what: 'a line about the refusal', withinMs: 5_000 });
    const [, code] = / denied \S+ (\S+)/.exec(line);
    const policy = / policy=(\S+)/.exec(line);
    return `${service}: ${code}${policy === null ? '' : `, policy ${policy[1]}`}, ${/ reason="((?:[^"\\]|\\.)*)"/.exec(line)[1]}`;
  }

  /** The last hop token that a dependency gone bad took down in stock. */
  async stolen() {
    for (let tries = 0; this.loot.length === 0 && tries < 500; tries += 1) await new Promise((done) => setTimeout(done, 10));
    return this.loot.at(-1) ?? 'nothing.was.stolen';
  }

  /** The line that stock wrote to its access log of a request with this verdict, since `from`. */
  async logged(verdict, from) {
    const pattern = new RegExp(`^\\{.*"enmesh\\.verdict":"${verdict}".*"url\\.path":"/corrections"`);
    return JSON.parse(await this.shop.stock.line(pattern, { from, what: 'a line of the access log' }));
  }

  /** How many lines a service has said: where to look for what comes next. */
  mark(service) {
    return this.shop[service].said.length;
  }

  /** The exit code of curl for a URL, or undefined where there is no curl. */
  curl(url) {
    return new Promise((done) => {
      execFile('curl', ['--silent', '--noproxy', '*', '--max-time', '10', url], (error) => {
        if (error === null) done(0);
        else done(error.code === 'ENOENT' ? undefined : error.code);
      });
    });
  }

  close() {
    return this.shop.close();
  }
}
