// Takes money (node:http). Who pays is the user whom checkout speaks for, not a name in the body.
import { serve } from '../../common.js';

await serve(({ route, body, user }) => {
  if (route !== 'POST /charges') return undefined;
  if (!(body.amount > 0)) throw new TypeError('amount must be above 0');
  return { charge: `${body.amount} of ${user.subject}` };
});
