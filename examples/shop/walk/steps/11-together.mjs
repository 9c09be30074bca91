import { describe, jsonOf } from '../../../platform/ask.mjs';

const denied = '403 RBAC: access denied';
const unverified = '401 The user of this request cannot be verified';
const corrections = 'http://stock.shop.svc.cluster.local/corrections';

export const togetherStep = {
  title: '(11) The user and the service together: neither is enough alone, and what travels of the user is of no use to a thief',
  async run({ world, check, note }) {
    note('11-corrections.yaml is added: stock demands the gateway and an administrator in one source');
    await world.change((copy) => copy.teach('11-corrections.yaml'));
    const admin = await world.token('sub=root&groups=staff,admin');
    const correct = (token) => world.plain('gateway', '/admin/corrections', { method: 'POST', token });

    const from = world.mark('stock');
    const before = await correct(admin);
    check({
      asked: 'POST /admin/corrections of an administrator, before anything of the user travels on',
      got: describe(before),
      want: '403 {"error":"stock refused","status":403}',
      why: await world.denied('stock', { from }),
    });

    note('enmesh/11-propagation.yaml is added: the gateway carries its users to stock by HOP');
    await world.change((copy) => copy.teach('enmesh/11-propagation.yaml'));
    const correctedFrom = world.mark('stock');
    const answer = await correct(admin);
    const { user, through, peer, headers = [] } = jsonOf(answer);
    check({
      asked: 'POST /admin/corrections of an administrator: whom stock sees',
      got: `user ${user}, carried by ${through}, peer ${peer}`,
      want: 'user https://idp.shop.example/root, carried by spiffe://cluster.local/ns/shop/sa/gateway, peer cluster.local/ns/shop/sa/gateway',
      why: world.allowed('stock', { headers: { 'x-shop-decision': answer.headers['x-shop-stock'] } }),
    });
    const text = JSON.stringify(headers);
    check({
      asked: 'what is left of any token in the headers that the handler of stock reads',
      got: admin.split('.').some((part) => text.includes(part)) || text.includes('hop-token') ? 'something' : 'nothing',
      want: 'nothing',
      why: 'the token stayed at the gateway, and the hop token ended at the door of stock',
    });

    const log = await world.logged('allowed', correctedFrom);
    check({
      asked: 'who did that, in the access log of stock',
      got: `user ${log['user.id']} of ${log['enmesh.user.issuer']}, carried by ${log['enmesh.actors']}`,
      want: 'user root of https://idp.shop.example, carried by spiffe://cluster.local/ns/shop/sa/gateway',
      why: `decision ${log['enmesh.decision']}, rule ${log['enmesh.rule']} of ${log['enmesh.policy']}, status ${log['http.response.status_code']}`,
    });

    const alice = await world.token('sub=alice&groups=staff');
    const refused = await correct(alice);
    check({
      asked: 'the same of a user who is no administrator',
      got: describe(refused),
      want: denied,
      why: await world.denied('gateway', { answer: refused }),
    });

    /** A call inside of the mesh, and why stock refused it. */
    const call = async (what, as, headers, want) => {
      const found = await world.call(as, corrections, { method: 'POST', headers });
      check({
        asked: `POST ${corrections} as ${what}`,
        got: describe(found),
        want,
        why: await world.denied('stock', { answer: found }),
      });
    };
    await call('the gateway, for nobody', 'gateway', {}, denied);
    await call('visitor', 'visitor', {}, denied);
    note('stock was broken into: a dependency of it takes down the hop token that the gateway made for root');
    const stolen = await world.stolen();
    const withToken = (what, as, token) => call(`${what}, with it`, as, { 'enmesh-hop-token': token }, unverified);
    await withToken('visitor', 'visitor', stolen);
    await withToken('another process of the gateway', 'gateway', stolen);
    note('the thief writes other claims into it, and that it belongs to the certificate of that process');
    const seen = await world.call('gateway', 'http://product.shop.svc.cluster.local/debug/call');
    const alteredFrom = world.mark('stock');
    await withToken('the same process', 'gateway', altered(stolen, jsonOf(seen).certificate));
    const refusal = await world.logged('refused', alteredFrom);
    check({
      asked: 'who that was, in the access log of stock',
      got: `user ${refusal['user.id'] ?? 'unknown'}, peer ${refusal['enmesh.peer']}, ${refusal['error.type']}`,
      want: 'user unknown, peer spiffe://cluster.local/ns/shop/sa/gateway, ENMESH_PROPAGATION_HOP_SIGNATURE',
      why: `decision ${refusal['enmesh.decision']}: ${refusal['enmesh.reason']}`,
    });
  },
};

/** All that can be altered; for the signature one would need the key. `certificate` is the SHA-256 of one in hexadecimal. */
function altered(token, certificate) {
  const [header, payload, signature] = token.split('.');
  const change = (segment, more) => {
    const value = { ...JSON.parse(Buffer.from(segment, 'base64url').toString()), ...more };
    return Buffer.from(JSON.stringify(value)).toString('base64url');
  };
  const bound = { 'x5t#S256': Buffer.from(certificate, 'hex').toString('base64url') };
  return [change(header, bound), change(payload, { sub: 'owner' }), signature].join('.');
}
