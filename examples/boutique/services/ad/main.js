// Advertisements (node:http). It is asked for every visitor and learns of none: nothing of a user travels here.
import { serve } from '../../common.js';

await serve(({ route, user }) => (route === 'GET /ads' ? { ad: `mugs for ${user?.subject ?? 'whoever you are'}` } : undefined));
