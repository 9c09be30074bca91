// Converts amounts (node:http).
import { serve } from '../../common.js';

const rates = { USD: 1, EUR: 0.9, JPY: 150 };

await serve(({ route, query }) => {
  const rate = rates[query.get('to')];
  if (route !== 'GET /convert' || rate === undefined) return undefined;
  return { amount: Math.round(Number(query.get('usd')) * rate * 100) / 100 };
});
