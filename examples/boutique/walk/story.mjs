// What is to work: an order from the first look to the e-mail. The paths say who called whom and, where it is somebody's business, for which user.
import { checkPassage } from './check.mjs';

/** Each step is a call of {@link checkPassage}; a user `as` alice, unless it says `tina`, who tests. */
const steps = [
  {
    what: 'alice looks in: GET /',
    ask: (world, { alice }) => world.visit('GET', '/', { token: alice }),
    want: { products: 4, ad: 'mugs for whoever you are', recommended: ['Sunglasses', 'Tank Top'] },
    path: [
      'frontend < outside for alice',
      'productcatalog < frontend',
      'ad < frontend',
      'recommendation < frontend for alice',
      'productcatalog < recommendation',
    ],
  },
  {
    what: 'alice looks at a mug: GET /product/mug',
    ask: (world, { alice }) => world.visit('GET', '/product/mug', { token: alice }),
    want: { id: 'mug', name: 'Mug', eur: 8.09 },
    path: ['frontend < outside for alice', 'productcatalog < frontend', 'currency < frontend'],
  },
  {
    what: 'alice takes two: POST /cart',
    ask: (world, { alice }) => world.visit('POST', '/cart', { token: alice, body: { product: 'mug', quantity: 2 } }),
    want: [{ product: 'mug', quantity: 2 }],
    path: ['frontend < outside for alice', 'cart < frontend for alice', 'redis < cart', 'redis < cart'],
  },
  {
    what: 'tina, who tests, has nothing in her cart: GET /cart',
    ask: (world, { tina }) => world.visit('GET', '/cart', { token: tina }),
    want: { cart: [], shippingUsd: 0 },
    path: ['frontend < outside for tina', 'cart < frontend for tina', 'redis < cart', 'shipping < frontend'],
  },
  {
    what: 'alice orders: POST /checkout',
    ask: (world, { alice }) => world.visit('POST', '/checkout', { token: alice }),
    want: {
      amount: 24.27,
      charge: '24.27 of alice',
      tracking: 'track-1-parcels',
      confirmation: 'alice@boutique.example',
      carriedBy: ['checkout', 'frontend'],
    },
    path: [
      'frontend < outside for alice',
      'checkout < frontend for alice',
      'cart < checkout < frontend for alice',
      'redis < cart',
      'productcatalog < checkout',
      'shipping < checkout',
      'currency < checkout',
      'payment < checkout < frontend for alice',
      'shipping < checkout',
      'cart < checkout < frontend for alice',
      'redis < cart',
      'email < checkout < frontend for alice',
    ],
  },
  {
    what: 'tina asks for the canary, with the header: GET /canary',
    ask: (world, { tina }) => world.visit('GET', '/canary', { token: tina, headers: { 'x-version': 'canary' } }),
    want: { version: 'canary', recommended: ['Mug'], for: 'tina' },
    path: ['frontend < outside for tina', 'recommendation < frontend for tina', 'productcatalog < recommendation'],
  },
];

export const story = {
  title: 'An order, from the first look to the e-mail: who let whom in, for whom',
  async *checks(world) {
    const tokens = { alice: await world.users.token(), tina: await world.users.token({ sub: 'tina', group: 'tester' }) };
    for (const { ask, ...step } of steps) yield checkPassage(world, { ...step, ask: () => ask(world, tokens) });
  },
};
