// npm run shop: starts the shop and stays. Ports come from GATEWAY_PORT, PRODUCT_PORT, STOCK_PORT and IDP_PORT; 0 is a free one.
import { createShop } from './platform/shop.mjs';
import { onStop } from '../platform/signals.mjs';

const defaults = { GATEWAY_PORT: '8080', PRODUCT_PORT: '9081', STOCK_PORT: '9082', IDP_PORT: '0' };

function readPorts() {
  return Object.fromEntries(
    Object.entries(defaults).map(([name, fallback]) => {
      const value = process.env[name] ?? fallback;
      if (!/^\d{1,5}$/.test(value) || Number(value) > 65_535)
        throw new Error(`${name} must be a port from 0 to 65535, not \`${value}\``);
      return [name, value];
    }),
  );
}

/** Services announce themselves on standard output, one line of JSON each, and say on standard error why they refuse something. */
function onLine(name, line, stream) {
  if (stream === 'stderr') console.error(`${name}: ${line}`);
  else if (name !== 'idp') console.log(line);
}

/** Where tokens come from, and two calls ready to paste: without a token, which the policies refuse, and with one of an hour. */
async function tell({ idp, gateway, copy }) {
  const token = await (await fetch(`${idp.place.token}?sub=alice&expires=3600`)).text();
  const { address } = gateway.place;
  console.log(JSON.stringify({ ...idp.place, configuration: copy.directory }));
  console.log(`curl -i ${address}/products/1`);
  console.log(`curl -i -H 'authorization: Bearer ${token}' ${address}/products/1`);
}

let isStopping = false;
let starting;

onStop({
  gently: async () => {
    isStopping = true;
    const shop = await starting?.catch(() => {});
    await shop?.close();
    process.exit(0);
  },
  atOnce: () => process.exit(1),
});

try {
  starting = createShop({ ports: readPorts(), show: 'linked', onLine });
  const shop = await starting;
  for (const { name, ended } of shop.processes) {
    void ended.then(async ({ code, signal }) => {
      if (isStopping) return;
      isStopping = true;
      console.error(`${name} ended by itself (${signal ?? `exit code ${code}`}); the shop closes`);
      await shop.close();
      process.exit(1);
    });
  }
  if (!isStopping) await tell(shop);
} catch (error) {
  if (!isStopping) {
    console.error(`the shop does not start: ${error.message}`);
    process.exit(1);
  }
}
